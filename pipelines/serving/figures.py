"""What the server counts of itself, for Prometheus: figures only, never a name, a key or an image id."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
_IMAGES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 128)


class Figures:
    """Counters, histograms and gauges of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("tailsight_http_requests", "Requests answered.", "route", "status")
        self.images = self._counter("tailsight_images", "Images by what was decided of them.", "decision")
        self.swaps = self._counter("tailsight_model_swaps", "Times that another model took over.")
        self.watch_failures = self._counter("tailsight_watch_failures", "Times that the alias could not be read.")
        self.kept = self._counter("tailsight_kept_images", "Images kept for the review queue.")
        self.not_kept = self._counter("tailsight_not_kept_images", "Images that were not kept for lack of room.")
        self.seconds = Histogram(
            "tailsight_request_seconds",
            "From the first byte to the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "tailsight_batch_images",
            "How many images each image was computed together with, itself included.",
            buckets=_IMAGES,
            registry=self._registry,
        )
        self._model = Gauge(
            "tailsight_model_info", "The model that answers now.", ("version", "runtime"), registry=self._registry
        )

    def serving(self, version: str, runtime: str) -> None:
        """Say which model answers."""
        self._model.clear()
        self._model.labels(version, runtime).set(1)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A gauge that is looked at when somebody asks."""
        self._registry.register(_Looked(name, what, value))

    def text(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self._registry)


class _Looked(Collector):
    def __init__(self, name: str, what: str, value: Callable[[], float]) -> None:
        self._name, self._what, self._value = name, what, value

    def collect(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self._name, self._what, value=self._value())]
