"""`penstock replay`: recorded traffic again, as events or as a market that a campaign bids in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

_Files = Annotated[
    list[Path], typer.Argument(exists=True, dir_okay=False, help="Files, plain, .gz or .zst; .csv, .tsv, .parquet.")
]
_Url = Annotated[str, typer.Option(help="Where the collector listens; else where the settings put it.")]
_Key = Annotated[str, typer.Option(envvar="PENSTOCK_API_KEY", help="API key, when the collector needs one.")]
_Mapping = Annotated[
    Path | None,
    typer.Option(
        envvar="PENSTOCK_EVENT_MAPPING", exists=True, dir_okay=False, help="TOML or JSON: columns of tables as fields."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")]
_Patience = Annotated[float, typer.Option(help="Seconds that a request is tried before the replay gives up.")]


class _FilesByDefault(TyperGroup):
    """`replay FILE...` means `replay files FILE...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_FilesByDefault, no_args_is_help=True, help=str(__doc__))


@app.callback()
def replay() -> None:
    """Send recorded traffic again: `penstock replay FILE...`, or `penstock replay auctions FILE --campaign ID`."""


@app.command("files")
def files(
    files: _Files,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["ndjson", "ipinyou"], typer.Option(help="ndjson: events, and tables; ipinyou: its 24-column logs.")
    ] = "ndjson",
    speed: Annotated[str, typer.Option(help="max, or a factor such as 1x or 60x.")] = "max",
    url: _Url = "",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all times alike, so that the last event is sent at its time.")
    ] = False,
    campaign_prefix: Annotated[str, typer.Option(help="Goes before every campaign id.")] = "",
    regions: Annotated[Path | None, typer.Option(exists=True, help="iPinYou's file of region names.")] = None,
    mapping: _Mapping = None,
    api_key: _Key = "",
    patience: _Patience = 60.0,
    json: _Json = False,
) -> None:
    """Send the events of files to a collector, in the order of their time."""
    from cli.replay_files import FilesReplay, replay_files
    from ingest.formats.mapping import Mapping as EventMapping
    from ingest.replay.pace import speed_factor

    wanted = FilesReplay(
        files=files,
        format=format,
        factor=_checked(speed_factor, speed),
        shift_to_now=shift_to_now,
        campaign_prefix=campaign_prefix,
        regions=regions,
        columns=_checked(EventMapping.load, mapping).csv,
    )
    url, api_key = destination(url, api_key)
    replay_files(wanted, url=url, api_key=api_key, patience_s=patience, as_json=json)


@app.command("auctions")
def auctions(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of `click market_price pCTR`.")],
    campaign: Annotated[str, typer.Option(help="The campaign that bids; it must be known to the api.")],
    budget_micros: Annotated[int, typer.Option(min=1, help="The budget that spend is compared with, in micros.")],
    speed: Annotated[str, typer.Option(help="max, or a factor on --rate such as 1x or 60x.")] = "1x",
    rate: Annotated[float, typer.Option(min=0.1, help="Auctions a second at 1x.")] = 1_000.0,
    bid_micros: Annotated[
        int | None, typer.Option(min=1, help="CPM bid in micros while the campaign's serving state has none.")
    ] = None,
    resume_wait: Annotated[float, typer.Option(help="Seconds to wait for a resume before the replay ends.")] = 5.0,
    url: _Url = "",
    api_key: _Key = "",
    patience: _Patience = 60.0,
    json: _Json = False,
) -> None:
    """Let a campaign bid in real auctions, in closed loop: its current bid wins or loses, its pause stops it."""
    from cli.replay_auctions import AuctionsReplay, replay_auctions
    from ingest.replay.pace import speed_factor

    wanted = AuctionsReplay(
        file=file,
        campaign_id=campaign,
        budget_micros=budget_micros,
        auctions_per_second=rate * _checked(speed_factor, speed),
        bid_micros=bid_micros,
        resume_wait_s=resume_wait,
    )
    url, api_key = destination(url, api_key)
    replay_auctions(wanted, url=url, api_key=api_key, patience_s=patience, as_json=json)


def destination(url: str, api_key: str) -> tuple[str, str]:
    """Where to send and with which key: as given, else to this machine's api as the settings say.

    Raises typer.BadParameter when PENSTOCK_API_KEYS cannot be read. A key of the settings goes to this machine only.
    """
    from api.auth import ApiKeys
    from cli.address import api_url
    from cli.settings import Settings

    if url:
        return url, api_key
    settings = Settings()
    try:
        own = [key.decode() for key, _ in ApiKeys.parse(settings.api_keys).pairs]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return api_url(settings), api_key or next(iter(own), "")


def _checked(parse: Any, text: Any) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
