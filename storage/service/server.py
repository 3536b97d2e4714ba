"""The service's process: the engine opened, its users, the interface on a socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from storage.service.access import ReadingOnly, User
from storage.service.answers import Lane
from storage.service.app import Service, app_of
from storage.service.engine import Connections, prepare

WRITERS: Final = 6
READERS: Final = 3
# More than this many waiting means minutes of waiting: better told than kept.
WAITING_MAX: Final = 64
# A question that takes longer is a report, to be asked of a ClickHouse server.
READER_SECONDS_MAX: Final = 60
READER_RESULT_BYTES_MAX: Final = 128 * 2**20
# An insert is on disk as one part when it is acknowledged, and not in a buffer. Its rows are read with the columns of
# the table they go to, whatever the input says of itself.
_WRITER_SETTINGS: Final = (
    "async_insert = 0",
    "use_structure_from_insertion_table_in_table_functions = 1",
    "schema_inference_use_cache_for_file = 0",
)


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def reader_settings(cores: int, memory: int) -> tuple[str, ...]:
    """The limits of an analyst's statement: half the cores, an eighth of the memory. `readonly` comes last: after it
    no setting can be changed.

    >>> reader_settings(2, 8 * 2**30)[:2]
    ('max_threads = 1', 'max_memory_usage = 1073741824')
    """
    return (
        f"max_threads = {max(1, cores // 2)}",
        f"max_memory_usage = {memory // 8}",
        f"max_execution_time = {READER_SECONDS_MAX}",
        f"max_result_bytes = {READER_RESULT_BYTES_MAX}",
        "result_overflow_mode = 'throw'",
        "readonly = 1",
    )


def opened(path: Path, *, password: str, analyst_password: str) -> Starlette:
    """The interface to the engine on a data directory, which is made when it is not there.

    Raises RuntimeError when another process has it open.
    """
    # The engine shows times in the zone of the machine unless told otherwise.
    os.environ["TZ"] = "UTC"
    path.mkdir(parents=True, exist_ok=True)
    # Rows are the organisation's; nobody else on the machine reads them.
    path.chmod(0o700)
    writers = Connections(path, WRITERS, _WRITER_SETTINGS)
    prepare(writers)
    readers = Connections(path, READERS, reader_settings(os.cpu_count() or 1, memory_bytes()))
    users = [User("default", password), User("analyst", analyst_password, reads_only=True)]
    with writers.borrowed() as connection:
        version = connection.query("SELECT version()", "TSVRaw").bytes().decode().strip()
    service = Service(
        users={user.name: user for user in users},
        lanes={"default": Lane(writers, WRITERS, WAITING_MAX), "analyst": Lane(readers, READERS, WAITING_MAX)},
        reading_only=ReadingOnly(readers),
        version=version,
    )
    return app_of(service)


def serve(path: Path, port: int, *, password: str = "", analyst_password: str = "") -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. Raises OSError when the port is taken."""
    # The port first: a second service must not get as far as the data.
    listening = socket.create_server(("127.0.0.1", port), backlog=256)
    app = opened(path, password=password, analyst_password=analyst_password)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
