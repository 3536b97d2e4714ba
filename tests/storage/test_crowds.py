"""Far more statements than threads, clients that leave in the middle, slow readers: everybody gets an answer."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.support.chdb_service import ChdbService

AT_ONCE = 200


def _busy() -> None:
    while True:
        pass


@contextmanager
def a_busy_machine() -> Iterator[None]:
    """Two processes that never rest: the hang was a race that an idle machine did not lose."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_busy, daemon=True) for _ in range(2)]
    for one in spinning:
        one.start()
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.join()


def head(service: ChdbService, user: str, query: str, length: int | None = None) -> bytes:
    lines = [f"{name}: {value}" for name, value in service.headers(user).items()]
    size = len(query) if length is None else length
    lines = ["POST / HTTP/1.1", "Host: 127.0.0.1", *lines, f"Content-Length: {size}", "", query]
    return "\r\n".join(lines).encode()


def connected(service: ChdbService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def one_row(service: ChdbService, user: str, timeout: float = 60) -> tuple[int, str]:
    answer = httpx.post(service.address, content="SELECT 1", headers=service.headers(user), timeout=timeout)
    if answer.status_code == 200:
        assert answer.text == "1\n"
    return answer.status_code, answer.headers.get("x-clickhouse-exception-code", "")


def leaves_in_the_body(service: ChdbService, user: str) -> None:
    with connected(service) as one:
        one.sendall(head(service, user, "SELECT 1", length=5_000))


def leaves_before_the_answer(service: ChdbService, user: str) -> None:
    with connected(service) as one:
        one.sendall(head(service, user, "SELECT count() FROM numbers(2000000000) WHERE sipHash64(number) = 2"))


def leaves_in_the_answer(service: ChdbService, user: str) -> None:
    with connected(service) as one:
        one.sendall(head(service, user, "SELECT number, repeat('x', 100) FROM numbers(300000)"))
        one.recv(1_000)


def until_answered(service: ChdbService, user: str, within_s: float) -> float:
    """Seconds until `SELECT 1` is answered."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        try:
            if one_row(service, user, timeout=within_s)[0] == 200:
                return time.monotonic() - began
        except httpx.TimeoutException:
            break
        time.sleep(0.1)
    pytest.fail(f"{user} got no answer within {within_s:.0f} s")


@pytest.mark.parametrize("user", ["analyst", "default"])
def test_hundreds_at_once_all_get_an_answer_or_are_told_to_come_again(service: ChdbService, user: str) -> None:
    with a_busy_machine(), ThreadPoolExecutor(AT_ONCE) as pool:
        seen = Counter(pool.map(lambda _: one_row(service, user), range(AT_ONCE)))
    assert set(seen) <= {(200, ""), (503, "202")}
    assert seen[200, ""] >= 60, seen
    until_answered(service, user, 20)


@pytest.mark.parametrize("user", ["analyst", "default"])
def test_clients_that_leave_in_the_middle_hold_nothing(service: ChdbService, user: str) -> None:
    leaving = (leaves_in_the_body, leaves_before_the_answer, leaves_in_the_answer)
    with a_busy_machine(), ThreadPoolExecutor(60) as pool:
        list(pool.map(lambda n: leaving[n % 3](service, user), range(AT_ONCE)))
    until_answered(service, user, 30)
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number) = 2%' AND query LIKE 'SELECT%'"
    running += " AND query NOT LIKE '%processes%'"
    deadline = time.monotonic() + 30
    while httpx.post(service.address, content=running, headers=service.headers()).text != "0\n":
        assert time.monotonic() < deadline, "a statement whose client left still runs"
        time.sleep(0.1)


def test_readers_that_take_nothing_do_not_keep_others_waiting(service: ChdbService) -> None:
    slow = [connected(service) for _ in range(6)]
    try:
        for one in slow:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.sendall(head(service, "analyst", "SELECT number, repeat('x', 200) FROM numbers(600000)"))
            one.recv(1)
        # Twice three threads, each given up after seconds because others wait.
        assert until_answered(service, "analyst", 45) < 45
        assert until_answered(service, "default", 20) < 20
    finally:
        for one in slow:
            one.close()


def test_a_long_answer_to_a_steady_reader_is_whole(service: ChdbService) -> None:
    query = "SELECT number, repeat('x', 200) FROM numbers(600000) FORMAT JSONCompactEachRow"
    count = 0
    given = {"content": query, "headers": service.headers("analyst"), "timeout": 60}
    with httpx.stream("POST", service.address, **given) as answer:  # type: ignore[arg-type]
        for count, line in enumerate(answer.iter_lines(), 1):
            if count % 100_000 == 0:
                assert json.loads(line)[0] == str(count - 1) or json.loads(line)[0] == count - 1
                time.sleep(0.2)
    assert count == 600_000
