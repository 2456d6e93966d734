"""What a server counts, for Prometheus."""

from __future__ import annotations

from typing import Protocol

from dashboard.serving.types import EDGES_S, Health

REQUESTS = "sightline_requests", "Requests answered, by operation and by what came of them."
SECONDS = "sightline_request_seconds", "How long requests took, waiting included."
WAITING = "sightline_waiting", "Pieces of work that wait for a device or hold one."
MODEL_BYTES = "sightline_model_bytes", "Bytes of networks loaded on a device."


class Meter(Protocol):
    """Who counts what a server does."""

    def ended(self, operation: str, outcome: str, seconds: float) -> None:
        """A request was answered; outcome is "ok", "gone" or the name of an error."""
        ...

    def seen(self, health: Health) -> None:
        """How the engine is, whenever somebody asks."""
        ...

    def page(self) -> bytes:
        """All that was counted, as Prometheus reads it; empty where it is told elsewhere."""
        ...


class NoMeter:
    """Counts nothing."""

    def ended(self, operation: str, outcome: str, seconds: float) -> None:
        """Nothing to do."""

    def seen(self, health: Health) -> None:
        """Nothing to do."""

    def page(self) -> bytes:
        return b""


class PageMeter:
    """Counts in this process, and shows it on a page. Raises ImportError where prometheus-client is not installed."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter(*REQUESTS, ["operation", "outcome"], registry=self._registry)
        self._seconds = Histogram(*SECONDS, ["operation"], registry=self._registry, buckets=EDGES_S)
        self._waiting = Gauge(*WAITING, registry=self._registry)
        self._bytes = Gauge(*MODEL_BYTES, ["device"], registry=self._registry)

    def ended(self, operation: str, outcome: str, seconds: float) -> None:
        self._requests.labels(operation, outcome).inc()
        self._seconds.labels(operation).observe(seconds)

    def seen(self, health: Health) -> None:
        self._waiting.set(health.waiting)
        for device in health.devices:
            self._bytes.labels(device.name).set(device.model_bytes)

    def page(self) -> bytes:
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def page_meter() -> Meter:
    """One that shows a page, where the library for it is installed."""
    try:
        return PageMeter()
    except ImportError:
        return NoMeter()
