"""The service's process: what it is told, what it may touch.

It is started anew with an environment that holds no secret (`/proc/self/environ` shows what a process was started
with), and is told its passwords through a pipe. Before the engine is loaded the operating system takes everything else
from it (`storage.service.confinement`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

# What Python and the engine need to run, and nothing that anybody would put a secret in.
_KEPT: Final = (
    "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL",
    "PENSTOCK_LOG_FORMAT", "PENSTOCK_LOG_LEVEL",
)  # fmt: skip

_ORDERS_BYTES_MAX: Final = 60_000
# Each has threads of his own.
ANALYSTS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Orders:
    """What the service is told. `analysts`: (name, password, organisation)."""

    data_dir: str
    port: int
    password: str
    analyst_password: str
    # Why `analyst` is closed; empty: it is open.
    analyst_is_closed: str = ""
    analysts: tuple[tuple[str, str, str], ...] = ()

    @property
    def path(self) -> str:
        """The engine's folder."""
        return os.path.join(self.data_dir, "clickhouse")

    @property
    def scratch(self) -> str:
        """Where the engine puts what is gone with the process: /tmp is closed to it."""
        return os.path.join(self.data_dir, "clickhouse.tmp")


def analysts_of(setting: str) -> tuple[tuple[str, str, str], ...]:
    """The analysts that `name:password:organisation,...` names; raises ValueError with the mend.

    >>> analysts_of("ann:p1:one, bob:p2:two")
    (('ann', 'p1', 'one'), ('bob', 'p2', 'two'))
    """
    found: list[tuple[str, str, str]] = []
    for entry in filter(None, map(str.strip, setting.split(","))):
        name, password, organisation = [*entry.split(":"), "", ""][:3] if entry.count(":") == 2 else ("", "", "")
        if not (name and password and organisation) or name in ("default", "analyst", *(one[0] for one in found)):
            raise ValueError(
                "PENSTOCK_CLICKHOUSE_ANALYSTS: write name:password:organisation, each name once, not default or analyst"
            )
        found.append((name, password, organisation))
    if len(found) > ANALYSTS_MAX:
        raise ValueError(
            f"PENSTOCK_CLICKHOUSE_ANALYSTS: at most {ANALYSTS_MAX} analysts; beyond, use a ClickHouse server"
        )
    return tuple(found)


def clean_environment(environment: Mapping[str, str], orders: Orders) -> dict[str, str]:
    """The variables that the service may have."""
    kept = {name: environment[name] for name in _KEPT if name in environment}
    return kept | {"TZ": "UTC", "TMPDIR": orders.scratch}


def handed_over(orders: Orders) -> int:
    """The descriptor of a pipe that holds the orders, for the process that this one becomes. Raises ValueError."""
    text = json.dumps(asdict(orders)).encode()
    # A pipe takes 64 KiB without a reader; orders are a few hundred bytes.
    if len(text) > _ORDERS_BYTES_MAX:
        raise ValueError("PENSTOCK_CLICKHOUSE_ANALYSTS: too many users")
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    os.set_inheritable(reading, True)
    return reading


def received_orders(descriptor: int) -> Orders:
    """The orders that `handed_over` left in the pipe."""
    with os.fdopen(descriptor, "rb") as pipe:
        given = json.loads(pipe.read())
    given["analysts"] = tuple((name, password, organisation) for name, password, organisation in given["analysts"])
    return Orders(**given)
