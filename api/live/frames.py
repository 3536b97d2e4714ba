"""Frames as text, put together from parts that were encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.live.board import Board, Entry, Organisation
from api.live.protocol import (
    DECISIONS_PER_FRAME,
    ROWS_PER_FRAME,
    SNAPSHOT_DECISIONS,
    SNAPSHOT_ROWS_PER_FRAME,
)
from api.live.rows import encode

# None: all campaigns of the organisation.
Subscription = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of type `kind`; with it a client has seen everything up to `seq`."""

    kind: str
    seq: int
    text: str


def delta(board: Board, org_id: str, since: int, wanted: Subscription, sent_ms: int) -> Frame | None:
    """What changed after `since`: the last state of each campaign. None when nothing wanted did."""
    organisation = board.organisation(org_id)
    entries = [entry for entry in organisation.changed_since(since) if _is_wanted(entry.row.campaign_id, wanted)]
    decisions = [kept for kept in organisation.decisions.since(since) if _is_wanted(kept[1], wanted)]
    status = board.status_seq > since
    if not (entries or decisions or status):
        return None
    seq = min(_cut(board.seq, [e.seq for e in entries], ROWS_PER_FRAME), _last_decision(board.seq, decisions))
    members: dict[str, bytes] = {
        "rows": _array(entry.encoded() for entry in entries if entry.seq <= seq),
        "decisions": _array(record for at, _, record in decisions if at <= seq),
    }
    if organisation.decisions.dropped_seq > since:
        members["decisions_missed"] = b"true"
    if status:
        members |= _status(board)
    return _frame("delta", seq, sent_ms, organisation, members)


def snapshot_entries(organisation: Organisation, since: int, wanted: Subscription) -> list[Entry]:
    """The campaigns of a snapshot; with `since` those of a resumed connection."""
    return [entry for entry in organisation.changed_since(since) if _is_wanted(entry.row.campaign_id, wanted)]


def snapshot_parts(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Entries cut into the parts of a snapshot, at least one."""
    step = SNAPSHOT_ROWS_PER_FRAME
    return [entries[at : at + step] for at in range(0, len(entries), step)] or [()]


def snapshot(
    board: Board,
    org_id: str,
    entries: Sequence[Entry],
    *,
    seq: int,
    since: int,
    wanted: Subscription,
    sent_ms: int,
    place: tuple[int, int],
    config: dict[str, Any] | None,
) -> Frame:
    """Part `place` = (part, parts) of a snapshot; the first part has the configuration and the decisions.

    `since` above 0 resumes: the browser adds to what it has in place of beginning anew.
    """
    organisation = board.organisation(org_id)
    part, parts = place
    members: dict[str, bytes] = {
        "part": encode(part),
        "parts": encode(parts),
        "resumed": encode(since > 0),
        "rows": _array(entry.encoded_with_spark() for entry in entries),
    }
    if part == 0:
        if config is not None:
            members["config"] = encode(config)
        kept = [kept for kept in organisation.decisions.since(since) if _is_wanted(kept[1], wanted)]
        members["decisions"] = _array(record for _, _, record in kept[-SNAPSHOT_DECISIONS:])
        members |= _status(board)
    return _frame("snapshot", seq, sent_ms, organisation, members)


def detail(board: Board, org_id: str, campaign_id: str, seq: int, sent_ms: int) -> Frame:
    """The last hour of points and the recent decisions of one campaign."""
    organisation = board.organisation(org_id)
    entry = organisation.campaigns.get(campaign_id)
    members = {
        "campaign_id": encode(campaign_id),
        "known": encode(entry is not None),
        "points": encode([] if entry is None else list(entry.points)),
        "decisions": _array(organisation.decisions.of_campaign(campaign_id)),
    }
    return _frame("detail", seq, sent_ms, organisation, members)


def ping(board: Board, org_id: str, seq: int, sent_ms: int) -> Frame:
    """A heartbeat. It tells the newest event's time too, so that an idle page shows its age."""
    return _frame("ping", seq, sent_ms, board.organisation(org_id), {})


def pong(board: Board, org_id: str, seq: int, sent_ms: int) -> Frame:
    """The answer to a client's ping."""
    return _frame("pong", seq, sent_ms, board.organisation(org_id), {})


def _frame(kind: str, seq: int, sent_ms: int, organisation: Organisation, members: dict[str, bytes]) -> Frame:
    head = {
        "type": encode(kind),
        "seq": encode(seq),
        "sent_ms": encode(sent_ms),
        "event_ms": encode(organisation.event_ms),
    }
    body = b",".join(b'"' + name.encode() + b'":' + value for name, value in (head | members).items())
    return Frame(kind, seq, (b"{" + body + b"}").decode())


def _status(board: Board) -> dict[str, bytes]:
    flow = sorted(board.flow.values(), key=lambda status: status.worker)
    return {"flow": encode(flow), "store": encode(board.store)}


def _is_wanted(campaign_id: str, wanted: Subscription) -> bool:
    return wanted is None or campaign_id in wanted


def _cut(newest: int, seqs: Sequence[int], limit: int) -> int:
    """The number up to which `limit` changes go."""
    return newest if len(seqs) <= limit else seqs[limit - 1]


def _last_decision(newest: int, decisions: Sequence[tuple[int, str, bytes]]) -> int:
    return _cut(newest, [seq for seq, _, _ in decisions], DECISIONS_PER_FRAME)


def _array(items: Any) -> bytes:
    return b"[" + b",".join(items) + b"]"
