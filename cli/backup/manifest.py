"""What a backup consists of: every file with its size and SHA-256, and what was left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

FORMAT: Final = 1
NAME: Final = "manifest.json"
_SUM_NAME: Final = "manifest.sha256"
_STEP: Final = 1 << 20


class BackupError(Exception):
    """The backup cannot be made or used; the message says why and what to do."""


class File(msgspec.Struct, frozen=True):
    """One file of a backup."""

    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """Written last: a folder without it is no backup."""

    format: int
    penstock: str
    made_ms: int
    # Of the log, as of `Log.identity`; empty: the log is on Kafka and not in here.
    log_identity: str
    partitions: int
    # End offsets by "topic/partition".
    ends: dict[str, int]
    # Rows of the tables of ClickHouse; None: not in here.
    tables: dict[str, int] | None
    files: dict[str, File]
    left_out: list[str]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it with a checksum of its own."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / _SUM_NAME).write_text(hashlib.sha256(content).hexdigest() + "\n")
    (folder / NAME).write_bytes(content)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError for what is none, is damaged or is of a newer version."""
    try:
        content, expected = (folder / NAME).read_bytes(), (folder / _SUM_NAME).read_text().strip()
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no whole backup: {Path(error.filename).name} is missing") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise BackupError(f"{folder}: {NAME} is damaged; take another backup")
    manifest = msgspec.json.decode(content, type=Manifest)
    if manifest.format > FORMAT:
        raise BackupError(f"{folder} was made by Penstock {manifest.penstock}, which is newer: restore it with that")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises BackupError when a file is missing or is not what was written."""
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BackupError(f"{folder}: {name} is missing; nothing was restored")
        if path.stat().st_size != file.size_bytes or file_of(path) != file:
            raise BackupError(f"{folder}: {name} is damaged; nothing was restored")


def file_of(path: Path) -> File:
    """A file's size and checksum."""
    digest = hashlib.sha256()
    size = 0
    for piece in pieces(path):
        digest.update(piece)
        size += len(piece)
    return File(size, digest.hexdigest())


def pieces(path: Path, size_bytes: int | None = None) -> Iterator[bytes]:
    """A file's content, or its first bytes, a piece at a time. Raises BackupError when it is shorter."""
    left = size_bytes
    with path.open("rb") as file:
        while left is None or left > 0:
            piece = file.read(_STEP if left is None else min(_STEP, left))
            if not piece:
                break
            yield piece
            left = None if left is None else left - len(piece)
    if left:
        raise BackupError(f"{path} ended {left} bytes too early")
