"""What people set: campaign definitions with their history, overrides, words on decisions.

Every change and the record that tells the dataflow of it are one transaction (`control.outbox`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Column, Connection, Engine, Row, Table, func, select, text, update

from control import migrate, outbox
from control.database import database_url, open_database, writing
from control.errors import (
    FixedFieldError,
    OverrideError,
    UnknownCampaignError,
    UnknownVersionError,
    VersionConflictError,
)
from control.tables import campaign_changes, campaigns, decision_words, insert_record, overrides
from schemas.campaigns import Campaign, CampaignStatus
from schemas.control import CampaignRecord, DecisionWordRecord, OverrideRecord
from schemas.events import MICROS_MAX
from schemas.log import Log

# As a definition is stored.
_ARCHIVED: Final = f'"status":"{CampaignStatus.ARCHIVED.value}"'


class Action(StrEnum):
    """What an override does; `lift` ends those before it."""

    PAUSE = "pause"
    RESUME = "resume"
    SET_BID = "set_bid"
    LIFT = "lift"


class Word(StrEnum):
    """What a person may say to a decision."""

    APPROVE = "approve"
    REJECT = "reject"
    UNDO = "undo"


# Topic `control` keeps the last record of a key: a bid must not push out a pause, so each has a slot of its own. The
# order of records across keys survives compaction, which is what makes `lift` end just what came before it.
_SLOT: Final = {Action.PAUSE: "state", Action.RESUME: "state", Action.SET_BID: "bid", Action.LIFT: "lift"}


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """A definition in force."""

    definition: Campaign
    version: int
    changed_by: str
    changed_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """One version of a campaign: `before` is None in the first."""

    version: int
    changed_by: str
    changed_ms: int
    before: Campaign | None
    after: Campaign


@dataclass(frozen=True, slots=True)
class Override:
    """A person's override as it was given."""

    version: int
    action: str
    bid_micros: int | None
    note: str
    changed_by: str
    changed_ms: int


class ControlStore:
    """The control plane's tables behind the calls that API and CLI make. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, data_dir: Path) -> Self:
        """Open the database at `url` (empty: SQLite in `data_dir`) and bring it to the newest schema."""
        engine = open_database(database_url(url, data_dir))
        migrate.upgrade(engine)
        return cls(engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """The engine, for what shares the database with campaigns."""
        return self._engine

    def ping(self) -> None:
        """Return when the database answers; raises sqlalchemy.exc.SQLAlchemyError otherwise."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def publish_outbox(self, log: Log) -> int:
        """Append unpublished records to topic `control`; returns how many. Raises LogUnavailableError."""
        return outbox.publish(self._engine, log)

    # Campaigns

    def put_campaign(
        self, definition: Campaign, *, changed_by: str, now_ms: int, expected_version: int | None = None
    ) -> int:
        """Set a definition and return its version: 1 at first, one more a change, the same when nothing changes.

        `expected_version` is the version that the caller changed, 0 for none yet. Raises VersionConflictError when
        another is in force, FixedFieldError when the currency would change.
        """
        with writing(self._engine) as connection:
            current = _current(connection, definition.org_id, definition.campaign_id)
            version = current.version if current is not None else 0
            if expected_version is not None and expected_version != version:
                raise VersionConflictError(definition.campaign_id, expected_version, version)
            if current is None:
                return _write_version(connection, definition, None, 1, changed_by, now_ms)
            if current.definition == definition:
                return version
            _must_keep_currency(current.definition, definition)
            return _write_version(connection, definition, current.definition, version + 1, changed_by, now_ms)

    def archive_campaign(
        self, org_id: str, campaign_id: str, *, changed_by: str, now_ms: int, expected_version: int | None = None
    ) -> int:
        """Put a campaign away: it is not bid for any more, its history stays. Returns its version.

        Archived already, it keeps its version. Raises UnknownCampaignError, VersionConflictError.
        """
        stored = self.campaign(org_id, campaign_id)
        expected = stored.version if expected_version is None else expected_version
        archived = stored.definition.model_copy(update={"status": CampaignStatus.ARCHIVED})
        return self.put_campaign(archived, changed_by=changed_by, now_ms=now_ms, expected_version=expected)

    def revert_campaign(self, org_id: str, campaign_id: str, to_version: int, *, changed_by: str, now_ms: int) -> int:
        """Put the definition of a former version as a new one; returns the new version.

        Raises UnknownCampaignError, UnknownVersionError.
        """
        former = {change.version: change.after for change in self.changes(org_id, campaign_id)}
        if to_version not in former:
            raise UnknownVersionError(campaign_id, to_version)
        return self.put_campaign(former[to_version], changed_by=changed_by, now_ms=now_ms)

    def campaign(self, org_id: str, campaign_id: str) -> StoredCampaign:
        """The definition in force; raises UnknownCampaignError."""
        with self._engine.connect() as connection:
            stored = _current(connection, org_id, campaign_id)
        if stored is None:
            raise UnknownCampaignError(campaign_id)
        return stored

    def campaigns(
        self, org_id: str, *, after: str = "", limit: int = 1_000, archived: bool = True
    ) -> list[StoredCampaign]:
        """Definitions in force by campaign_id, from behind `after`; archived ones only when asked for."""
        query = select(campaigns).where(campaigns.c.org_id == org_id, campaigns.c.campaign_id > after)
        if not archived:
            # Within a text of the definition the quotes would be escaped.
            query = query.where(~campaigns.c.definition.contains(_ARCHIVED, autoescape=True))
        with self._engine.connect() as connection:
            return [_stored(row) for row in connection.execute(query.order_by(campaigns.c.campaign_id).limit(limit))]

    def changes(self, org_id: str, campaign_id: str) -> list[Change]:
        """Every version, oldest first; raises UnknownCampaignError."""
        query = select(campaign_changes).where(*_of(campaign_changes, org_id, campaign_id))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(campaign_changes.c.version)).all()
        if not rows:
            raise UnknownCampaignError(campaign_id)
        return [_change(row) for row in rows]

    # Overrides and words

    def override(
        self,
        org_id: str,
        campaign_id: str,
        action: Action,
        *,
        changed_by: str,
        now_ms: int,
        bid_micros: int | None = None,
        note: str = "",
    ) -> int:
        """Record a person's override, numbered from 1; returns its number.

        Raises UnknownCampaignError, OverrideError when bid_micros and action do not fit together.
        """
        _must_fit(action, bid_micros)
        with writing(self._engine) as connection:
            if _current(connection, org_id, campaign_id) is None:
                raise UnknownCampaignError(campaign_id)
            record = OverrideRecord(
                key=f"override/{org_id}/{campaign_id}/{_SLOT[action]}",
                org_id=org_id,
                campaign_id=campaign_id,
                version=_next(connection, overrides.c.version, *_of(overrides, org_id, campaign_id)),
                changed_by=changed_by,
                changed_ms=now_ms,
                action=action.value,
                bid_micros=bid_micros,
                note=note,
            )
            insert_record(connection, overrides, record)
            outbox.enqueue(connection, record)
        return record.version

    def overrides(self, org_id: str, campaign_id: str) -> list[Override]:
        """Every override of a campaign, oldest first."""
        query = select(overrides).where(*_of(overrides, org_id, campaign_id)).order_by(overrides.c.version)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Override(r.version, r.action, r.bid_micros, r.note, r.changed_by, r.changed_ms) for r in rows]

    def say(self, org_id: str, campaign_id: str, decision_id: str, word: Word, *, changed_by: str, now_ms: int) -> int:
        """Record a person's word on a decision, numbered from 1; saying the same again makes no new one."""
        of_decision = (decision_words.c.org_id == org_id, decision_words.c.decision_id == decision_id)
        with writing(self._engine) as connection:
            newest = select(decision_words).where(*of_decision).order_by(decision_words.c.version.desc()).limit(1)
            last = connection.execute(newest).one_or_none()
            if last is not None and last.word == word:
                return int(last.version)
            record = DecisionWordRecord(
                key=f"decision_word/{org_id}/{decision_id}",
                org_id=org_id,
                campaign_id=campaign_id,
                version=last.version + 1 if last is not None else 1,
                changed_by=changed_by,
                changed_ms=now_ms,
                decision_id=decision_id,
                word=word.value,
            )
            insert_record(connection, decision_words, record)
            outbox.enqueue(connection, record)
        return record.version


def _of(table: Table, org_id: str, campaign_id: str) -> tuple[Any, Any]:
    return table.c.org_id == org_id, table.c.campaign_id == campaign_id


def _current(connection: Connection, org_id: str, campaign_id: str) -> StoredCampaign | None:
    row = connection.execute(select(campaigns).where(*_of(campaigns, org_id, campaign_id))).one_or_none()
    return _stored(row) if row is not None else None


def _stored(row: Row[Any]) -> StoredCampaign:
    return StoredCampaign(Campaign.model_validate_json(row.definition), row.version, row.changed_by, row.changed_ms)


def _change(row: Row[Any]) -> Change:
    before = Campaign.model_validate_json(row.before) if row.before is not None else None
    return Change(row.version, row.changed_by, row.changed_ms, before, Campaign.model_validate_json(row.after))


def _must_keep_currency(before: Campaign, after: Campaign) -> None:
    # What was spent so far is in micros of the old currency and cannot be compared with a new budget.
    if before.currency != after.currency:
        raise FixedFieldError("currency", before.currency, after.currency)


def _must_fit(action: Action, bid_micros: int | None) -> None:
    if action is not Action.SET_BID:
        if bid_micros is not None:
            raise OverrideError(f"{action.value} takes no bid_micros")
    elif bid_micros is None:
        raise OverrideError("set_bid needs bid_micros")
    elif not 0 < bid_micros <= MICROS_MAX:
        raise OverrideError(f"bid_micros must be between 1 and {MICROS_MAX}")


def _next(connection: Connection, version: Column[Any], *where: Any) -> int:
    return int(connection.execute(select(func.coalesce(func.max(version), 0)).where(*where)).scalar_one()) + 1


def _write_version(
    connection: Connection, after: Campaign, before: Campaign | None, version: int, changed_by: str, now_ms: int
) -> int:
    """Write the new state, its audit row and its record, in the caller's transaction."""
    definition = after.model_dump_json()
    record = CampaignRecord(
        key=f"campaign/{after.org_id}/{after.campaign_id}",
        org_id=after.org_id,
        campaign_id=after.campaign_id,
        version=version,
        changed_by=changed_by,
        changed_ms=now_ms,
        campaign=after.model_dump(mode="json"),
    )
    if before is None:
        insert_record(connection, campaigns, record, definition=definition)
    else:
        changed = update(campaigns).where(*_of(campaigns, after.org_id, after.campaign_id))
        named = {"version": version, "changed_by": changed_by, "changed_ms": now_ms}
        connection.execute(changed.values(definition=definition, **named))
    was = before.model_dump_json() if before is not None else None
    insert_record(connection, campaign_changes, record, before=was, after=definition)
    outbox.enqueue(connection, record)
    return version
