"""Several processes of the flow on this machine: started together, and together started again when one dies."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

# Waits between restarts of a cluster that keeps breaking, in seconds; the last one repeats.
BACKOFF_S: Final = (0.2, 1.0, 2.0, 5.0, 15.0)
# A cluster that ran this long works: its back-off starts anew.
HEALTHY_S: Final = 60.0
# How long processes may take to end before they are killed.
GRACE_S: Final = 7.0
_LOOK_S: Final = 0.05

_log = logging.getLogger(__name__)

# A process that ends with this code cannot run as it is set up; starting it again would not help.
REFUSED: Final = 2

# The words of the command that runs process `number` of a cluster at `addresses`.
Command = Callable[[int, Sequence[str]], Sequence[str]]


def free_addresses(count: int) -> list[str]:
    """Addresses on loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()


# Given a process's number and id: why it must be started again, None while it works or merely waits.
Stuck = Callable[[int, int], str | None]


def supervise(
    command: Command,
    processes: int,
    *,
    stop: threading.Event,
    held: Sequence[int] = (),
    stuck: Stuck = lambda number, pid: None,
) -> int:
    """Keep a cluster running until `stop`, or until all its processes have ended well: the exit code.

    A Bytewax cluster cannot go on without one of its processes: when one ends badly, the others are killed and all
    are started again, from the last snapshot that all of them have; so when one is `stuck`. `held` are file
    descriptors that they keep open.
    """
    restarts = 0
    while True:
        began_s = time.monotonic()
        code = _run_once(command, processes, stop, held, stuck)
        if code in (0, REFUSED) or stop.is_set():
            return code
        restarts = 0 if time.monotonic() - began_s > HEALTHY_S else restarts
        wait_s = BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)]
        restarts += 1
        _log.warning("a process of the flow ended; all %d start again in %.1f s", processes, wait_s)
        if stop.wait(wait_s):
            return 0


def _run_once(command: Command, processes: int, stop: threading.Event, held: Sequence[int], stuck: Stuck) -> int:
    """0 when all processes ended well, REFUSED when one cannot run, else 1."""
    addresses = free_addresses(processes)
    members = [_start(command(number, addresses), held) for number in range(processes)]
    try:
        while not stop.is_set():
            codes = [member.poll() for member in members]
            if REFUSED in codes:
                return REFUSED
            if any(code is not None and code != 0 for code in codes):
                return 1
            if None not in codes:
                return 0
            reasons = [stuck(number, member.pid) for number, member in enumerate(members)]
            for number, reason in enumerate(reasons):
                if reason is not None:
                    _log.error("process %d of the flow is stuck: %s", number, reason)
                    return 1
            stop.wait(_LOOK_S)
        return 0 if _end(members) else 1
    finally:
        _kill(members)


def _start(words: Sequence[str], held: Sequence[int]) -> subprocess.Popen[bytes]:
    # Its stdin is how it learns that this process was killed; a session of its own keeps Ctrl-C here.
    return subprocess.Popen(list(words), stdin=subprocess.PIPE, pass_fds=held, start_new_session=True)  # noqa: S603


def _end(members: Sequence[subprocess.Popen[bytes]]) -> bool:
    for member in members:
        member.send_signal(signal.SIGTERM)
    deadline_s = time.monotonic() + GRACE_S
    while any(member.poll() is None for member in members) and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
    return all(member.poll() == 0 for member in members)


def _kill(members: Sequence[subprocess.Popen[bytes]]) -> None:
    for member in members:
        if member.poll() is None:
            member.kill()
    for member in members:
        member.wait()
        if member.stdin is not None:
            member.stdin.close()
