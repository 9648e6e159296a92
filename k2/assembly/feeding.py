"""The process that sends a feed's records to Kafka."""

from collections.abc import Callable, Iterable

from k2.assembly.tables import committed_offsets
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.ingestion.feed_runner import Credits, FeedResult, run_feed
from k2.ingestion.kafka import check_broker
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import open_registry
from k2.observability.metrics import Metrics
from k2.settings import Settings


def build_producer(settings: Settings, metrics: Metrics) -> MarketDataProducer:
    """The producer for settings.kafka."""
    return MarketDataProducer(settings.kafka, open_registry(settings.kafka), metrics, SystemClock())


def feed(settings: Settings, records: Iterable[FeedRecord], window: int, stopping: Callable[[], bool]) -> FeedResult:
    """Send a feed's records, at most `window` messages a partition ahead of the tables (0: no limit).

    Raises:
        UnavailableError: no broker answers.
        DeliveryError: the broker or the tables stopped taking records in.
        CaptureError: from the feed; what it gave before was sent.
    """
    check_broker(settings.kafka)
    credits = Credits(window, committed_offsets(settings)) if window else None
    with build_producer(settings, Metrics()) as producer:
        return run_feed(records, producer, credits, stopping=stopping)
