"""The service's process: the engine opened, its users, the interface on a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette

from schemas.health import Progress
from storage.service import confinement, engine
from storage.service.access import User
from storage.service.app import Desk, Service, app_of
from storage.service.bodies import Room
from storage.service.connections import GuardedProtocol
from storage.service.lanes import Lane
from storage.service.probe import keep_asking
from storage.service.process import Orders
from storage.service.reading import Reading

WRITERS: Final = 6
READERS: Final = 3
# All bodies of a user under way, packed and unpacked.
BODIES_BYTES_MAX: Final = 768 * 2**20
READER_BODIES_BYTES_MAX: Final = 64 * 2**20
# Those of all analysts together: with them and the writer's the process's bodies are bounded, however many users.
READERS_BODIES_BYTES_MAX: Final = 128 * 2**20
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


_log = logging.getLogger(__name__)


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def reader_limits(cores: int, memory: int) -> dict[str, str]:
    """The limits of an analyst's statement: half the cores, an eighth of the memory.

    >>> reader_limits(2, 8 * 2**30)["max_threads"], reader_limits(2, 8 * 2**30)["max_memory_usage"]
    ('1', '1073741824')
    """
    return {
        "max_threads": str(max(1, cores // 2)),
        "max_memory_usage": str(memory // 8),
        "max_execution_time": str(READER_SECONDS_MAX),
        "max_result_bytes": str(READER_RESULT_BYTES_MAX),
        "result_overflow_mode": "throw",
    }


def make_folder(path: Path) -> None:
    """Make the data folder. Rows are the organisations': nobody else on the machine reads them."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def opened(orders: Orders) -> Starlette:
    """The interface to the engine. Raises RuntimeError when another process has the folder open."""
    path = Path(orders.path)
    control = engine.opened(path, _WRITER_SETTINGS)
    engine.prepare(control)
    users = known_users(orders)
    limits = reader_limits(os.cpu_count() or 1, memory_bytes())
    readers = Room(READERS_BODIES_BYTES_MAX)
    service = Service(
        users={user.name: user for user in users},
        desks={user.name: _desk(path, user, readers) for user in users},
        reading=Reading(lambda settings: engine.opened(path, settings), limits),
        version=control.query("SELECT version()", "TSVRaw").bytes().decode().strip(),
        stop=stopper(control),
    )
    return app_of(service)


# How long, and how often, a statement is asked to end whose client left: looking at it takes seconds at most.
STOP_FOR_S: Final = 30.0
STOP_AGAIN_S: Final = 0.5
# More clients than can be connected.
STOPPED_MAX: Final = 1_024


def known_users(orders: Orders) -> list[User]:
    """`default`, `analyst`, and one analyst more for each that the settings name."""
    analyst = User("analyst", orders.analyst_password, reads_only=True, closed=orders.analyst_is_closed)
    of_organisations = (User(name, password, True, organisation) for name, password, organisation in orders.analysts)
    return [User("default", orders.password), analyst, *of_organisations]


class _NoConnection:
    """Each of an analyst's statements opens connections of its own, with its own settings."""

    def close(self) -> None:
        """Nothing is open."""


def _desk(path: Path, user: User, readers: Room) -> Desk:
    if user.reads_only:
        return Desk(Lane(_NoConnection, READERS), Room(READER_BODIES_BYTES_MAX, readers))
    return Desk(Lane(lambda: engine.opened(path, _WRITER_SETTINGS), WRITERS), Room(BODIES_BYTES_MAX))


def stopper(connection: Any) -> Callable[[str], None]:
    """What ends a running statement by its mark, on a thread of its own.

    A client may leave while its statement is still looked at and does not run yet, so a mark is asked for again for a
    while.
    """
    marks: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run() -> None:
        left: deque[tuple[str, float]] = deque(maxlen=STOPPED_MAX)
        while True:
            with suppress(queue.Empty):
                left.append((marks.get(timeout=STOP_AGAIN_S if left else None), time.monotonic() + STOP_FOR_S))
                while True:
                    left.append((marks.get_nowait(), time.monotonic() + STOP_FOR_S))
            ended = ", ".join(f"'{mark}'" for mark, _ in left)
            try:
                connection.query(f"KILL QUERY WHERE splitByString('-- ', query)[-1] IN ({ended}) ASYNC", "Null")
            except Exception:
                _log.exception("a statement whose client left could not be stopped")
            while left and left[0][1] < time.monotonic():
                left.popleft()

    threading.Thread(target=run, name="chdb-stop", daemon=True).start()
    return marks.put


class _Server(uvicorn.Server):
    """Asks the engine itself while it serves."""

    def __init__(self, config: uvicorn.Config, app: Starlette, password: str, progress: Progress) -> None:
        super().__init__(config)
        self._asking = partial(keep_asking, app, password, progress.loop("query"))
        self._progress = progress

    async def main_loop(self) -> None:
        asking = asyncio.create_task(self._asking(), name="probe")
        self._progress.ready()
        try:
            await super().main_loop()
        finally:
            asking.cancel()


def confined(path: Path, also_writable: tuple[Path, ...]) -> int:
    """Take from this process what the service does not need; the Landlock ABI that holds it, 0: nothing does."""
    abi = confinement.confine(confinement.interpreter_folders(), [str(path), *map(str, also_writable)])
    if abi == 0:
        _log.warning("this kernel has no Landlock: only the check of statements keeps analysts from other files")
    return abi


def listening(port: int) -> socket.socket:
    """The service's socket on 127.0.0.1. Raises OSError when the port is taken."""
    return socket.create_server(("127.0.0.1", port), backlog=256)


def serve(orders: Orders, sock: socket.socket, progress: Progress, also_writable: tuple[Path, ...] = ()) -> None:
    """Serve until SIGTERM or SIGINT, confined to the data folder and `also_writable`."""
    path, scratch = Path(orders.path), Path(orders.scratch)
    make_folder(path)
    make_folder(scratch)
    left_behind = list(scratch.iterdir())
    confined(path, (scratch, *also_writable))
    # On the main thread the C library would look up the stack in /proc/self/maps, which is closed now.
    with ThreadPoolExecutor(1) as off_the_main_thread:
        app = off_the_main_thread.submit(opened, orders).result()
    # The folder is ours now: no other service runs on it.
    for old in left_behind:
        shutil.rmtree(old, ignore_errors=True)
    config = uvicorn.Config(
        app,
        # Logging is set up already; uvicorn itself tells of trouble only.
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        lifespan="off",
        http=GuardedProtocol,
        ws="none",
    )
    _Server(config, app, orders.password, progress).run(sockets=[sock])
