"""What `penstock actuate` knows after a start: receipts, definitions, its place in decisions, and what is lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from prometheus_client import Gauge

from platforms.follower import GAPS, Follower, Gap, readable
from platforms.outbox import Outbox
from schemas import topics
from schemas.campaigns import Campaign
from schemas.decisions import decode_decision
from schemas.log import Chunk, Log
from schemas.receipts import ReceiptState, decode_receipt

# Campaigns named in the line that says whose standing word is not known; the rest are counted.
NAMED_MAX: Final = 20
# Campaigns on platforms of which no decision is left in the log after decisions were lost: a person looks at these.
UNHEARD = Gauge("penstock_actuate_unheard_campaigns", "Campaigns whose standing word was lost")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Restored:
    """Where reading goes on, and what to tell."""

    control: Follower
    decisions: Follower
    # The end of decisions when the process started.
    end: int
    # Clock of the newest receipt: what was lost is newer than about this. None without receipts.
    last_receipt_ms: int | None
    definitions: list[Chunk] = field(default_factory=list)
    # Campaigns with a decision since the start.
    heard: set[tuple[str, str]] = field(default_factory=set)
    lost: bool = False

    def tell_gaps(self, follower: Follower, chunk: Chunk) -> None:
        """Say what retention removed before `chunk`, how much and of which time."""
        while follower.gaps:
            _tell_gap(follower.gaps.pop(0), self.last_receipt_ms, _first_ms(chunk))
            self.lost = True

    def tell_unheard(self, campaigns: Mapping[tuple[str, str], Campaign], armed: frozenset[str]) -> None:
        """After a loss: whose word on the platforms can no longer be known from the log."""
        linked = [
            key for key, campaign in campaigns.items() if any(link.platform in armed for link in campaign.platforms)
        ]
        unheard = sorted(set(linked) - self.heard) if self.lost else []
        UNHEARD.set(len(unheard))
        if unheard:
            _log.warning(
                "%d campaigns have no decision left in the log; see on their platforms that they stand as"
                " GET /api/v1/campaigns/{id}/serving says: %s",
                len(unheard), ", ".join("/".join(key) for key in unheard[:NAMED_MAX]),
            )  # fmt: skip


def restore(log: Log, outbox: Outbox, group: str, retry_parked: bool, now_ms: int) -> Restored:
    """Read control and receipts from the beginning, and where to go on in decisions. Raises LogUnavailableError."""
    control = Follower(log, topics.CONTROL, log.begin(topics.CONTROL, 0))
    definitions = list(control.to_end())
    begin, end = log.begin(topics.DECISIONS, 0), log.end(topics.DECISIONS, 0)
    committed = log.committed(group, topics.DECISIONS, 0)
    place = begin if committed is None else committed
    if place > end:
        _log.warning("the log is another one than before (it ends at %d, we were at %d); starting anew", end, place)
        place = begin
    parked, last_ms = _read_receipts(log, outbox, place, retry_parked, now_ms)
    place = min([place, *parked])
    gaps = []
    if place < begin:
        gaps = [Gap(topics.DECISIONS, place, begin)]
        GAPS.labels(topics.DECISIONS).inc()
        # What is left is said once more: the platforms then stand on the newest words that are known.
        outbox.restate_before = end
        place = begin
    decisions = Follower(log, topics.DECISIONS, place, gaps)
    restored = Restored(control, decisions, end, last_ms, definitions, lost=bool(gaps))
    if gaps and begin >= end:
        _tell_gap(decisions.gaps.pop(), last_ms, None)
    return restored


def _read_receipts(
    log: Log, outbox: Outbox, place: int, retry_parked: bool, now_ms: int
) -> tuple[list[int], int | None]:
    """Fold every receipt into the outbox; offsets of decisions to send again, and the newest receipt's clock."""
    # A restore that the log interrupted begins anew.
    outbox.forget()
    follower = Follower(log, topics.RECEIPTS, log.begin(topics.RECEIPTS, 0))
    parked: dict[str, int] = {}
    last_ms: int | None = None
    for chunk in follower.to_end():
        for _, receipt in readable(chunk, decode_receipt):
            last_ms = max(last_ms or 0, receipt.ts_ms)
            # Older ones are not read again: of them only what they say of the object matters.
            outbox.restore(receipt, settle=retry_parked or receipt.decision_offset >= place)
            if receipt.state == ReceiptState.PARKED:
                parked[receipt.receipt_id] = receipt.decision_offset
            elif receipt.state != ReceiptState.SENDING:
                parked.pop(receipt.receipt_id, None)
    outbox.restored(now_ms)
    if not retry_parked:
        return [], last_ms
    for identifier in parked:
        outbox.settled.pop(identifier, None)
    return list(parked.values()), last_ms


def _first_ms(chunk: Chunk) -> int | None:
    return next((decision.ts_ms for _, decision in readable(chunk, decode_decision)), None)


def _tell_gap(gap: Gap, since_ms: int | None, until_ms: int | None) -> None:
    _log.warning(
        "%s/0: offsets %d to %d (%d) were removed by retention before they were read, of about %s to %s;"
        " going on at %d, and the newest word of each campaign is sent once more",
        gap.topic, gap.start, gap.end, gap.end - gap.start, _shown(since_ms), _shown(until_ms), gap.end,
        extra={"topic": gap.topic, "from_offset": gap.start, "to_offset": gap.end},
    )  # fmt: skip


def _shown(ms: int | None) -> str:
    return "an unknown time" if ms is None else datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="seconds")
