"""Metrics of the service, as Prometheus reads them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counters, gauges and histograms of one service.

    Attributes:
        requests: Answers, by route, method and status.
        seconds: Time of answers, by route.
        batch: Uploads that are extracted together.
        activation: Seconds of an activation.
        registrations: Registrations that ended, by outcome: ``done`` or ``refused``.
        queued: Searches and registrations that wait.
        images: Images in the store.
        disk: Free bytes on the disk of the store.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "activeindex_requests", "Answers", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            *("activeindex_request_seconds", "Time of answers", ("route",)),
            registry=registry,
            buckets=_SECONDS,
        )
        self.batch = Histogram(
            *("activeindex_search_batch", "Uploads that are extracted together"),
            registry=registry,
            buckets=(1, 2, 4, 8, 16),
        )
        self.activation = Histogram(
            *("activeindex_activation_seconds", "Time of an activation"),
            registry=registry,
            buckets=_SECONDS,
        )
        self.registrations = Counter(
            "activeindex_registrations", "Registrations that ended", ("outcome",), registry=registry
        )
        self.queued = Gauge(
            "activeindex_queued", "Requests that wait", ("kind",), registry=registry
        )
        self.images = Gauge("activeindex_images", "Images in the store", registry=registry)
        self.disk = Gauge(
            "activeindex_disk_free_bytes", "Free bytes on the disk of the store", registry=registry
        )

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)
