"""What the api reads of corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from control.corrections.judge import Books


class CorrectionHistory(Books, Protocol):
    """Reads corrections. Blocking; raises Problem 503 when ClickHouse is away."""

    def corrections(
        self, org_id: str, campaign_id: str, cause: str, before: tuple[int, str], limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of CorrectionOut."""
        ...

    def corrected(
        self, org_id: str, campaign_id: str, from_ms: int, to_ms: int
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Sums of the days as they are now, with `from_ms`, `to_ms`, `days`; and of corrections, with `corrections`."""
        ...
