"""What the OpenRTB bidder is set up with, from settings."""

from __future__ import annotations

import json
import random
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cli.address import api_url
from cli.private import keep_private
from cli.settings import Settings

if TYPE_CHECKING:
    from api.wiring import OpenRtb


def openrtb_setup(settings: Settings) -> OpenRtb:
    """The bidder's setup; raises ValueError when the exchange rates cannot be used."""
    from api.wiring import OpenRtb

    return OpenRtb(
        secret=settings.secret.encode() or kept_secret(settings.data_dir / "openrtb.secret"),
        base_url=(settings.public_url or api_url(settings)).rstrip("/"),
        rates=read_rates(settings.exchange_rates),
        draw=random.SystemRandom().random,
    )


def make_folder(data_dir: Path) -> None:
    """Make the data folder when it is missing; ValueError says why it cannot be used."""
    try:
        keep_private(data_dir)
        # A folder of somebody else is there and takes nothing.
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"PENSTOCK_DATA_DIR: {data_dir} cannot be written: {reason}") from error


def kept_secret(path: Path) -> bytes:
    """A secret made once and kept readable by its owner only: notices of bids before a restart stay valid."""
    from storage.password import kept_word

    make_folder(path.parent)
    return kept_word(path, secrets.token_hex(32)).encode()


def read_rates(path: Path | None) -> dict[str, float]:
    """Exchange rates; empty without a file. Raises ValueError naming what is wrong."""
    if path is None:
        return {}
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"PENSTOCK_EXCHANGE_RATES: {path} is not a readable JSON file") from error
    if not isinstance(loaded, dict):
        raise ValueError("PENSTOCK_EXCHANGE_RATES: an object of currencies is needed")
    for currency, rate in loaded.items():
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not rate > 0:
            raise ValueError(f"PENSTOCK_EXCHANGE_RATES: the rate of {currency} must be above 0")
    return {currency: float(rate) for currency, rate in loaded.items()}
