"""Converted items through the one admission; refusals are told by item, and their letters keep the item as it came."""

from __future__ import annotations

from ingest.admission import Admitted, Refused, Rules, admit
from ingest.formats.converted import Converted
from ingest.letter_item import with_item
from schemas.dead_letters import DeadLetter, Reject, dead_letter


def admit_converted(
    converted: Converted, *, org_id: str, now_ms: int, partitions: int, source: str, rules: Rules
) -> Admitted:
    """Admit the lines of a request in another format; numbers of refusals are those of its items."""

    def letter(number: int, raw: bytes, reason: Reject, field: str, detail: str) -> DeadLetter:
        return dead_letter(raw, reason, field, detail, source=f"{source}:{number}", org_id=org_id, ts_ms=now_ms)

    payload = b"\n".join(converted.lines)
    admitted = admit(payload, org_id=org_id, now_ms=now_ms, partitions=partitions, source=source, rules=rules)
    refused = []
    for each in admitted.refused:
        place, why = each.line - 1, each.letter
        raw = with_item(converted.lines[place], converted.items[place])
        number = converted.numbers[place]
        refused.append(Refused(number, letter(number, raw, Reject(why.reason), why.field, why.detail)))
    refused += [
        Refused(bad.number, letter(bad.number, bad.item, bad.reason, bad.field, bad.detail))
        for bad in converted.refused
    ]
    admitted.ignored = converted.ignored.total()
    admitted.refused = sorted(refused, key=lambda each: each.line)
    return admitted
