"""OpenTelemetry by setting: a receiver gets spans and metrics; without the setting nothing of it is even imported."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cli.settings import Settings
from cli.telemetry import telemetry
from schemas import tracing
from schemas.health import Loop
from schemas.tracing import span
from storage.store.watched import Watched
from tests.support.needs import need
from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


class Receiver:
    """Takes OTLP over HTTP and keeps what it got."""

    def __init__(self) -> None:
        received: list[tuple[str, bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                received.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        trace = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        messages = [trace.ExportTraceServiceRequest.FromString(body) for path, body in list(self.received)
                    if path == "/v1/traces"]  # fmt: skip
        return [one for m in messages for r in m.resource_spans for s in r.scope_spans for one in s.spans]

    def metrics(self) -> dict[str, Any]:
        kind = importlib.import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
        messages = [kind.ExportMetricsServiceRequest.FromString(body) for path, body in list(self.received)
                    if path == "/v1/metrics"]  # fmt: skip
        found = [one for m in messages for r in m.resource_metrics for s in r.scope_metrics for one in s.metrics]
        return {one.name: one for one in found}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    need_otlp()
    made = Receiver()
    yield made
    made.close()


def need_otlp() -> None:
    need(find_spec("opentelemetry.exporter") is not None, "the extra otlp is not installed")


def attributes(one: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in one.attributes}


def test_a_statement_of_the_store_is_a_span_and_metrics_are_whole(receiver: Receiver) -> None:
    from storage import metrics

    class Client:
        def insert(self, table: str) -> str:
            return table

    metrics.INSERT_SECONDS.labels("spans").observe(0.03)
    metrics.ROWS.labels("spans").inc(7)
    with telemetry("store", Settings(otlp=receiver.url)):
        assert Watched(Client(), Loop("events")).insert("events") == "events"
    [told] = receiver.spans()
    assert (told.name, attributes(told)["feed"]) == ("ClickHouse insert", "events")
    found = receiver.metrics()
    rows = {attributes(point)["table"]: point.as_double for point in found["penstock_store_rows"].sum.data_points}
    assert rows["spans"] == 7.0
    points = found["penstock_store_insert_seconds"].histogram.data_points
    point = next(point for point in points if attributes(point)["table"] == "spans")
    assert (point.count, sum(point.bucket_counts), len(point.bucket_counts)) == (1, 1, len(point.explicit_bounds) + 1)
    assert point.bucket_counts[list(point.explicit_bounds).index(0.05)] == 1


def test_spans_are_nested_and_take_the_senders_trace(receiver: Receiver) -> None:
    sender = f"00-{'ab' * 16}-{'cd' * 8}-01"
    settings = Settings(otlp=receiver.url)
    with telemetry("api", settings), span("outer", traceparent=sender), span("inner", decision_id="d1"):
        pass
    told = {one.name: one for one in receiver.spans()}
    assert {one.trace_id.hex() for one in told.values()} == {"ab" * 16}
    assert told["inner"].parent_span_id == told["outer"].span_id
    assert attributes(told["inner"])["decision_id"] == "d1"


def test_a_receiver_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    need_otlp()
    # What the last batches wait for at the end, each.
    monkeypatch.setattr("cli.telemetry.EXPORT_S", 1)
    (port,) = free_ports(1)
    began = time.monotonic()
    with telemetry("api", Settings(otlp=f"http://127.0.0.1:{port}")):
        for _ in range(10_000):
            with span("lost"):
                pass
        # One span that waited for the receiver would take a second; all would take hours.
        assert time.monotonic() - began < 60.0


def test_without_the_setting_nothing_is_imported_and_a_span_is_nothing() -> None:
    code = (
        "import sys, cli.main, api.app, platforms.host, storage.store.run, flows.process\n"
        "from cli.settings import Settings\nfrom cli.telemetry import telemetry\n"
        "with telemetry('api', Settings()): pass\n"
        # The Redis client imports the SDK's metrics by itself, where they are installed.
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert tracing.span("a") is tracing.span("b")


@pytest.mark.slow
def test_an_event_sent_to_the_api_is_a_request_with_its_write(receiver: Receiver, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = os.environ | {
        "PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_PORT": str(port), "PENSTOCK_OTLP": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }  # fmt: skip
    with (tmp_path / "api.log").open("wb") as log:
        api = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        body = b'{"event_id":"e1","type":"click","ts":%d,"campaign_id":"shoes"}' % (time.time_ns() // 1_000_000)
        sent = False
        while not {"http POST", "write to the log"} <= {one.name for one in receiver.spans()}:
            assert api.poll() is None, (tmp_path / "api.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "api.log").read_text()
            time.sleep(0.2)
            if not sent:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/api/v1/events", body, {"X-Request-Id": "r17"}
                )
                request.add_header("Content-Type", "application/json")
                try:
                    sent = urllib.request.urlopen(request, timeout=5).status == 202
                except OSError:
                    continue
        told = {one.name: one for one in receiver.spans()}
        assert attributes(told["http POST"])["request_id"] == "r17"
        assert told["write to the log"].parent_span_id == told["http POST"].span_id
    finally:
        api.terminate()
        api.wait(60)
    assert "penstock_collector_events_accepted" in receiver.metrics()
