"""Where the api of this machine is, and who may reach it."""

from __future__ import annotations

import ipaddress

import typer

from cli.settings import Settings


def api_url(settings: Settings) -> str:
    """Where the api answers on this machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def refuse_open_door(host: str, *, has_keys: bool) -> None:
    """Exit when the api could be reached from other machines without a key."""
    if has_keys or _is_loopback(host):
        return
    typer.echo(
        f"penstock: refusing to bind to {host} without API keys: anyone who reaches it could send events and "
        "change budgets.\nSet PENSTOCK_API_KEYS=key:organisation, or PENSTOCK_HOST=127.0.0.1.",
        err=True,
    )
    raise typer.Exit(2)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
