"""A new control database beside an old log: take over what topic `control` says, so that versions go on from there.

Without this a database that was lost, or moved from SQLite to PostgreSQL, would count versions from 1 again, and the
dataflow would take every change for an old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, Engine, select

from control.database import writing
from control.tables import campaign_changes, campaigns, decision_words, insert_record, overrides
from schemas import topics
from schemas.control import CampaignRecord, ControlRecord, DecisionWordRecord, OverrideRecord, decode_control
from schemas.log import Log
from schemas.unreadable import UNREADABLE

_READ_BYTES: Final = 1 << 20
_PATIENCE_S: Final = 1.0


def restore(engine: Engine, log: Log) -> int:
    """Fill an empty database from the newest records of topic `control`; returns how many campaigns.

    Does nothing when there is any campaign already. Raises LogUnavailableError.
    """
    with engine.connect() as connection:
        if not _is_empty(connection):
            return 0
    # Read before the transaction: nobody waits for a slow log.
    newest = {_identity(record): record for record in sorted(_records(log), key=lambda record: record.version)}
    if not newest:
        return 0
    with writing(engine) as connection:
        if not _is_empty(connection):
            return 0
        for record in newest.values():
            _take_over(connection, record)
    return sum(isinstance(record, CampaignRecord) for record in newest.values())


def _is_empty(connection: Connection) -> bool:
    return connection.execute(select(campaigns.c.campaign_id).limit(1)).first() is None


def _records(log: Log) -> Iterator[ControlRecord]:
    """What the topic holds now; records that are none, or hold no valid definition, are left out."""
    offset, end = log.begin(topics.CONTROL, 0), log.end(topics.CONTROL, 0)
    while offset < end:
        chunk = log.read(topics.CONTROL, 0, offset, _READ_BYTES, timeout_s=_PATIENCE_S)
        if chunk is None:
            return
        offset = chunk.next_offset
        for raw in chunk.records():
            try:
                record = decode_control(raw)
                if isinstance(record, CampaignRecord):
                    record.definition()
            except UNREADABLE:
                continue
            yield record


def _identity(record: ControlRecord) -> tuple[str | int, ...]:
    """What a row stands for: of a campaign the newest version, of the others each. Keys are the writer's own choice."""
    match record:
        case CampaignRecord():
            return "campaign", record.org_id, record.campaign_id
        case OverrideRecord():
            return "override", record.org_id, record.campaign_id, record.version
        case DecisionWordRecord():
            return "word", record.org_id, record.decision_id, record.version


def _take_over(connection: Connection, record: ControlRecord) -> None:
    match record:
        case CampaignRecord():
            definition = record.definition().model_dump_json()
            insert_record(connection, campaigns, record, definition=definition)
            insert_record(connection, campaign_changes, record, before=None, after=definition)
        case OverrideRecord():
            insert_record(connection, overrides, record)
        case DecisionWordRecord():
            insert_record(connection, decision_words, record)
