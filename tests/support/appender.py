"""Append records to a log and print the number of every batch that was acknowledged; see `tests.support.logs`."""

from __future__ import annotations

import resource
import sys

from schemas.log import LogUnavailableError
from tests.support.logs import LogPlace


def main(arguments: list[str]) -> int:
    """0 when all batches were acknowledged, 3 when the log refused one."""
    kind, where, prefix, partitions, topic, partition, name, batches, size, file_bytes_max = arguments
    log = LogPlace(kind, where, prefix, int(partitions)).open()
    if int(file_bytes_max):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes_max), int(file_bytes_max)))
    for batch in range(int(batches)):
        records = [f"{name}-{batch}-{number}".encode() for number in range(int(size))]
        try:
            log.append(topic, int(partition), records)
        except LogUnavailableError as error:
            print(error, file=sys.stderr)
            return 3
        print(batch, flush=True)
    log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
