"""The metrics for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL = ("grpc_type", "grpc_service", "grpc_method")
"""The labels that gRPC servers in other languages use too, so that one dashboard fits all."""

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class ServerMetrics:
    """Metrics of every gRPC server."""

    started: Counter = field(default_factory=lambda: Counter("grpc_server_started_total", "Calls begun.", CALL))
    handled: Counter = field(
        default_factory=lambda: Counter("grpc_server_handled_total", "Calls ended, by code.", (*CALL, "grpc_code"))
    )
    seconds: Histogram = field(
        default_factory=lambda: Histogram("grpc_server_handling_seconds", "Seconds a call took.", CALL, buckets=SECONDS)
    )


@dataclass(frozen=True)
class ScalerMetrics:
    """Metrics of the API."""

    stages: Histogram = field(
        default_factory=lambda: Histogram(
            "imagescaler_stage_seconds",
            "Seconds of a call's stage: fetch, inspect, process.",
            ("stage",),
            buckets=SECONDS,
        )
    )
    decisions: Counter = field(
        default_factory=lambda: Counter("imagescaler_decisions_total", "What was decided to do.", ("decision",))
    )
    fetches: Counter = field(
        default_factory=lambda: Counter(
            "imagescaler_fetch_total", "Fetches of http_uri, by how they ended.", ("result",)
        )
    )


@dataclass(frozen=True)
class ProcessorMetrics:
    """Metrics of the processor."""

    slots: Gauge = field(default_factory=lambda: Gauge("imageprocessor_slots", "How many images at once."))
    busy: Gauge = field(default_factory=lambda: Gauge("imageprocessor_busy", "Images being processed."))
    queue_depth: Gauge = field(default_factory=lambda: Gauge("imageprocessor_queue_depth", "Images that wait."))
    queue_seconds: Histogram = field(
        default_factory=lambda: Histogram("imageprocessor_queue_seconds", "Seconds an image waited.", buckets=SECONDS)
    )
    rejected: Counter = field(
        default_factory=lambda: Counter("imageprocessor_rejected_total", "Images sent away, the queue being full.")
    )
