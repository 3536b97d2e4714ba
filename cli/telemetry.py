"""OpenTelemetry by setting: spans and all metrics over OTLP/HTTP. Without the setting nothing of it is imported."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import typer
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric

from cli.settings import Settings
from schemas import tracing

METRICS_EVERY_S: Final = 15.0
# What the receiver may take; then the data of this round is dropped.
EXPORT_S: Final = 5
HINT: Final = "OpenTelemetry is not installed: pip install 'penstock[otlp]', or unset PENSTOCK_OTLP"


def endpoint(settings: Settings) -> str:
    """Where to send; empty: nowhere."""
    return (settings.otlp or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).rstrip("/")


@contextmanager
def telemetry(process: str, settings: Settings, registries: Sequence[CollectorRegistry] = ()) -> Iterator[None]:
    """Send spans and metrics while the context lasts; raises typer.BadParameter when it is not installed.

    `registries` may grow while the process runs; the default one is always among them.
    """
    address = endpoint(settings)
    if not address:
        yield
        return
    try:
        stop_spans, export = _spans(process, address), _metrics(process, address)
    except ImportError:
        raise typer.BadParameter(HINT) from None
    stopped = threading.Event()

    def send() -> None:
        while not stopped.wait(METRICS_EVERY_S):
            export([REGISTRY, *registries])

    thread = threading.Thread(target=send, name="telemetry", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        tracing.install(None)
        stop_spans()
        export([REGISTRY, *registries])


def _resource(process: str) -> Any:
    import socket

    from opentelemetry.sdk.resources import Resource

    return Resource.create(
        {
            "service.namespace": "penstock",
            "service.name": f"penstock-{process}",
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )


def _spans(process: str, address: str) -> Callable[[], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import extract
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource(process), shutdown_on_exit=False)
    # Bounded: what does not fit the queue is dropped.
    exporter = OTLPSpanExporter(endpoint=f"{address}/v1/traces", timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=1_000 * EXPORT_S))
    tracer = provider.get_tracer("penstock")

    def start(name: str, attributes: tracing.Attributes) -> AbstractContextManager[Any]:
        given = str(attributes.get(tracing.TRACEPARENT, ""))
        own = {key: value for key, value in attributes.items() if key != tracing.TRACEPARENT}
        parent = extract({tracing.TRACEPARENT: given}) if given else None
        started: AbstractContextManager[Any] = tracer.start_as_current_span(name, context=parent, attributes=own)
        return started

    tracing.install(start)
    stop: Callable[[], None] = provider.shutdown
    return stop


def _metrics(process: str, address: str) -> Callable[[Sequence[CollectorRegistry]], None]:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    exporter = OTLPMetricExporter(endpoint=f"{address}/v1/metrics", timeout=EXPORT_S)
    resource, scope, began_ns = _resource(process), InstrumentationScope("penstock"), time.time_ns()

    def export(registries: Sequence[CollectorRegistry]) -> None:
        families = [family for registry in registries for family in registry.collect()]
        told = [made for family in families if (made := _converted(family, began_ns, time.time_ns())) is not None]
        scoped = ScopeMetrics(scope=scope, metrics=told, schema_url="")
        exporter.export(MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scoped], schema_url="")]))

    return export


def _converted(family: Metric, began_ns: int, now_ns: int) -> Any:
    """A Prometheus family as an OpenTelemetry metric of the same name; None when it has no points."""
    from opentelemetry.sdk.metrics import export as sdk

    cumulative = sdk.AggregationTemporality.CUMULATIVE
    if family.type == "histogram":
        points = _histogram_points(family, began_ns, now_ns)
        data: Any = sdk.Histogram(data_points=points, aggregation_temporality=cumulative)
    else:
        wanted = f"{family.name}_total" if family.type == "counter" else family.name
        points = [
            sdk.NumberDataPoint(
                attributes=sample.labels, start_time_unix_nano=began_ns, time_unix_nano=now_ns, value=sample.value
            )
            for sample in family.samples
            if sample.name == wanted
        ]
        is_counter = family.type == "counter"
        data = sdk.Sum(points, cumulative, is_monotonic=True) if is_counter else sdk.Gauge(data_points=points)
    if not points:
        return None
    return sdk.Metric(name=family.name, description=family.documentation, unit="", data=data)


def _histogram_points(family: Metric, began_ns: int, now_ns: int) -> list[Any]:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        of = found.setdefault(tuple(sorted(labels.items())), {"labels": labels, "bounds": [], "sum": 0.0})
        if sample.name.endswith("_bucket"):
            of["bounds"].append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            of["sum"] = sample.value
    return [
        HistogramDataPoint(
            attributes=of["labels"], start_time_unix_nano=began_ns, time_unix_nano=now_ns,
            count=int(max((count for _, count in of["bounds"]), default=0)), sum=of["sum"],
            bucket_counts=_single([int(count) for _, count in sorted(of["bounds"])]),
            explicit_bounds=[bound for bound, _ in sorted(of["bounds"]) if bound != float("inf")],
            min=0.0, max=0.0,
        )
        for of in found.values()
    ]  # fmt: skip


def _single(cumulated: Sequence[int]) -> list[int]:
    """Counts of each bucket from counts up to each.

    >>> _single([1, 4, 4])
    [1, 3, 0]
    """
    return [count - before for before, count in zip([0, *cumulated], cumulated, strict=False)]
