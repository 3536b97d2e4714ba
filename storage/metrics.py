"""Metrics of `penstock store`, each named once."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ROWS: Final = Counter("penstock_store_rows_total", "Rows that ClickHouse has acknowledged.", ["table"])
UNWRITTEN: Final = Counter(
    "penstock_store_unwritten_rows_total", "Rows that were acknowledged and not there; written again.", ["table"]
)
AUDITED: Final = Counter("penstock_store_verified_rows_total", "Rows compared again, later.", ["table"])
REPAIRED: Final = Counter("penstock_store_repaired_rows_total", "Rows missing later, written again.", ["table"])
INSERT_SECONDS: Final = Histogram(
    "penstock_store_insert_seconds",
    "Time of one insert.",
    ["table"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RETRIES: Final = Counter("penstock_store_retries_total", "Steps that failed and were tried again.", ["feed"])
LAG: Final = Gauge("penstock_store_lag_records", "About how many records are in the log and not stored.", ["feed"])
# NaN where it is not known: on Kafka, or while nothing is written.
REACH: Final = Gauge("penstock_store_reach_seconds", "How long ClickHouse may be away at the log's present rate.")
STATE: Final = Gauge("penstock_store_state", "0: ok, 1: behind, 2: down.", ["feed"])
# Lost: the log's retention removed records before they were stored; raise it, or look why the store was away.
LOST: Final = Counter("penstock_store_lost_offsets_total", "Offsets that retention removed unstored.", ["topic"])
BAD_RECORDS: Final = Counter(
    "penstock_store_bad_records_total", "Records that are not what the topic holds.", ["topic"]
)
RECONCILED: Final = Counter(
    "penstock_store_reconciled_windows_total", "Closed windows computed again for late events and corrections."
)
SERVED: Final = Counter("penstock_store_serving_writes_total", "Campaign states written to Redis.")
SEARCHED: Final = Counter("penstock_store_searched_events_total", "Old events looked for by their key when stored.")
LATE_DUPLICATES: Final = Counter(
    "penstock_store_late_duplicates_total", "Events that the dataflow had counted before; taken back by corrections."
)
