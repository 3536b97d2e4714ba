"""The embedded log: segment files on this machine's disk."""

from ingest.local_log.log import LocalLog

__all__ = ["LocalLog"]
