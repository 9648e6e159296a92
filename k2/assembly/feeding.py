"""The process that sends a feed's records to Kafka."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from k2.assembly.tables import committed_offsets
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.ingestion.feed_runner import Credits, FeedResult, run_feed
from k2.ingestion.kafka import check_broker
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import open_registry
from k2.observability.exposition import served_metrics
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import ProducerSettings, Settings


def build_producer(settings: Settings, metrics: Metrics, breakers: CircuitBreakers | None = None) -> MarketDataProducer:
    """The producer for settings.kafka, bounded by settings.producer; without breakers it gets its own."""
    clock = SystemClock()
    breakers = breakers or CircuitBreakers(settings.breaker, metrics, clock)
    registry = open_registry(settings.kafka, breakers)
    return MarketDataProducer(settings.kafka, registry, metrics, clock, settings.producer, breakers[Dependency.BROKER])


def feed(
    settings: Settings,
    records: Iterable[FeedRecord],
    window: int,
    stopping: Callable[[], bool],
    batch_records: int = 1,
    on_serving: Callable[[str], None] = lambda url: None,
) -> FeedResult:
    """Send a feed's records, at most `window` messages a partition ahead of the tables (0: no limit).

    Args:
        settings: where to.
        records: the feed.
        window: see above.
        stopping: asked before each record, or each batch.
        batch_records: how many are sent at once; more than one only for a feed that need not be waited for.
        on_serving: gets the address of the metrics, where settings.producer.metrics_port is set.

    Raises:
        UnavailableError: no broker answers.
        DeliveryError: the broker or the tables stopped taking records in.
        CaptureError: from the feed; what it gave before was sent.
    """
    metrics = Metrics()
    breakers = CircuitBreakers(settings.breaker, metrics, SystemClock())
    check_broker(settings.kafka, breaker=breakers[Dependency.BROKER])
    credits = Credits(window, committed_offsets(settings, breakers)) if window else None
    with (
        _served(settings.producer, metrics, on_serving),
        build_producer(settings, metrics, breakers) as producer,
    ):
        return run_feed(records, producer, credits, stopping=stopping, batch_records=batch_records)


@contextmanager
def _served(settings: ProducerSettings, metrics: Metrics, on_serving: Callable[[str], None]) -> Iterator[None]:
    if settings.metrics_port is None:
        yield
        return
    with served_metrics(metrics, settings.metrics_port, settings.metrics_host, "K2_PRODUCER__METRICS_PORT") as url:
        on_serving(url)
        yield
