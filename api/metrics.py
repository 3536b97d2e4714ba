"""The api's metrics, each named once."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# Whether senders get through: accepted events are durable in the log when they are counted.
EVENTS_ACCEPTED: Final = Counter("penstock_collector_events_accepted_total", "Events taken into the log.")
# A rise after a release of an SDK means that it sends something else than before.
EVENTS_REJECTED: Final = Counter("penstock_collector_events_rejected_total", "Events refused, by reason.", ["reason"])
# Refused as a whole: too large, wrong content type, unauthorised, log behind.
REQUESTS_REFUSED: Final = Counter("penstock_collector_requests_refused_total", "Requests refused, by code.", ["code"])
# From the last byte of the body to the answer, the wait for the disk included.
COLLECT_SECONDS: Final = Histogram(
    "penstock_collector_seconds",
    "Time to take a request's events, until they are durable.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
# Refused lines that no dead letter keeps: the organisation sends more rubbish than its room for it (16 MiB, 64 KiB/s).
LETTERS_DROPPED: Final = Counter(
    "penstock_collector_letters_dropped_total", "Refused events without a dead letter.", ["organisation"]
)
# Pixels that were answered but not recorded.
TRACKERS_REFUSED: Final = Counter("penstock_tracker_refused_total", "Pixel and click requests refused.", ["reason"])
# Accepted and not recorded: the mapping names no event of ours for them, or they are of no campaign.
ITEMS_IGNORED: Final = Counter(
    "penstock_collector_items_ignored_total", "Items of other formats that are no events of ours.", ["format", "reason"]
)
# Changes that people made but the dataflow has not been told of.
OUTBOX_FAILURES: Final = Counter("penstock_outbox_failures_total", "Times that the outbox could not be published.")
OUTBOX_PUBLISHED: Final = Counter("penstock_outbox_published_total", "Control records published to the log.")
# Anything above zero: a foreign writer, or a newer version beside an older one.
BAD_RECORDS: Final = Counter("penstock_api_bad_records_total", "Records of the log that the api left out.", ["topic"])
# 0 while the api still rebuilds from the log what bidders read.
READY: Final = Gauge("penstock_api_ready", "1 when serving state and decisions follow the log.")
# Of request bodies being received or worked on; near its bound (128 MiB), senders are told to come again.
BODY_BYTES: Final = Gauge("penstock_body_bytes", "Bytes of request bodies under way.")
# Who floods: requests of an organisation that were refused because its own share was used up, by what ran out.
ORGANISATION_REFUSED: Final = Counter(
    "penstock_organisation_refused_total", "Requests refused for an organisation's bound.", ["organisation", "bound"]
)
# Connections that we ended: an address keeps too many heads or bodies unfinished, or one came too slowly.
CONNECTIONS_ENDED: Final = Counter("penstock_connections_ended_total", "Connections ended, by reason.", ["reason"])

# Of every process that has reported, here or on another machine: 1 when it works.
PROCESS_WELL: Final = Gauge("penstock_process_well", "1 when the process works.", ["process", "host"])
# ok, starting, waiting, stuck, silent, crashing, ended or stopped (docs/operations.md).
PROCESS_STATE: Final = Gauge("penstock_process_state", "1 for the state it is in.", ["process", "host", "state"])
PROCESS_WAITING: Final = Gauge("penstock_process_waiting", "Work that waits, in its own units.", ["process", "host"])
# Its reports take about a second to come: less than that says nothing.
PROCESS_SKEW: Final = Gauge(
    "penstock_process_clock_skew_seconds", "Its clock ahead of the api's (negative: behind).", ["process", "host"]
)
CLICKHOUSE_ANSWERS: Final = Gauge("penstock_clickhouse_answers", "1 when ClickHouse answers the api's question.")
DISK_FREE: Final = Gauge("penstock_data_disk_free_bytes", "Free on the disk of the data folder.")
DISK_SIZE: Final = Gauge("penstock_data_disk_bytes", "Size of the disk of the data folder.")
# Of the local log; at the quota its oldest segments go, read or not.
LOG_BYTES: Final = Gauge("penstock_log_bytes", "Size of the local log.")
LOG_QUOTA: Final = Gauge("penstock_log_quota_bytes", "Size at which the local log drops its oldest segments.")
