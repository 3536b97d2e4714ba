"""The event log: local files or Kafka."""

from __future__ import annotations

from cli.doctor.finding import Finding, first_line
from cli.settings import Settings


def check_log(settings: Settings) -> Finding:
    """The event log opens; with Kafka the topics are there."""
    from cli.wiring import open_log
    from schemas import topics

    kind = f"Kafka at {settings.kafka}" if settings.kafka else f"local log in {settings.data_dir / 'log'}"
    try:
        log = open_log(settings)
        partitions = log.partitions(topics.EVENTS)
        end = sum(log.end(topics.EVENTS, partition) for partition in range(partitions))
        log.close()
    except Exception as error:
        broker, folder = "is the broker up? then `penstock topics create`", "restore it from a backup, or move it away"
        mend = broker if settings.kafka else folder
        return Finding("event log", False, f"{kind}: {first_line(error)}", mend)
    return Finding("event log", True, f"{kind}, {partitions} partitions, end offsets add up to {end}")
