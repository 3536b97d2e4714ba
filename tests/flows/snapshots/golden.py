"""Snapshots of every version that is read, and the form of today's: this module, run, writes those of today.

To be run once after VERSION was raised; what older versions wrote stays as it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from flows.logic.bidding.stage import BiddingState
from flows.logic.budgets.ledger import KeptStanding
from flows.logic.campaigns.registry import CampaignKey
from flows.place import Place
from flows.snapshots.forms import TableForm
from flows.snapshots.id_files import Saved
from flows.snapshots.parts import taken_apart
from flows.snapshots.shard import ShardFiles
from flows.snapshots.versions import VERSION, write
from tests.flows.snapshots.history import HALF, shard, steps

FOLDER: Final = Path(__file__).parent / "golden"
# What rows of a snapshot are packed from.
ROWS: Final[dict[str, Any]] = {
    "standings": KeptStanding,
    "bidding": BiddingState,
    "registry.campaigns": CampaignKey,
}
OTHERS: Final[dict[str, Any]] = {"place": Place, "ids": Saved}


def half_way() -> Any:
    """The shard after half of the history."""
    half = shard()
    for step in steps(0, HALF):
        half.step(step)
    return half


def form() -> dict[str, Any]:
    """What today's snapshots are made of."""
    parts = taken_apart(half_way().snapshot())
    arrays = {name: array for name, array in parts.tables.items() if not name.startswith("ids.")}
    return {
        "tables": {name: _described(array) for name, array in sorted(arrays.items())},
        "rows": {name: _schema(ROWS[name]) for name in sorted(parts.rows)},
        "rest": _shape(msgspec.msgpack.decode(parts.rest)),
        "others": {name: _schema(kind) for name, kind in OTHERS.items()},
    }


def _schema(kind: Any) -> Any:
    """The JSON schema of a type, without what is there to read only."""
    return json.loads(json.dumps(_bare(msgspec.json.schema(kind))))


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _bare(under) for key, under in schema.items() if key not in ("description", "title")}
    return [_bare(under) for under in schema] if isinstance(schema, list) else schema


def _described(array: np.ndarray[Any, Any]) -> Any:
    """Type and shape but for the number of rows, as JSON has them."""
    described = TableForm.of("", array)
    return json.loads(json.dumps([described.type, described.shape[1:]]))


def _shape(value: Any) -> Any:
    """Names and kinds of what is small."""
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        return {key: _shape(under) for key, under in sorted(value.items())}
    return type(value).__name__


def form_file(version: int) -> Path:
    """The recorded form of a version."""
    return FOLDER / f"{version}.form.json"


def main() -> None:
    """Write the snapshot, the files and the form of today's version."""
    half = half_way()
    (FOLDER / f"{VERSION}.snapshot").write_bytes(write(half.snapshot(), None))
    folder = FOLDER / f"{VERSION}.files"
    shutil.rmtree(folder, ignore_errors=True)
    files = ShardFiles(folder, 0)
    (folder / "head").write_bytes(files.save(half.snapshot(with_ids=False), half.duplicates))
    form_file(VERSION).write_text(json.dumps(form(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
