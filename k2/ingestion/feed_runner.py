"""Feeds into Kafka: every record of a feed through the producer, never further ahead of the tables than allowed."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from k2.errors import DeliveryError, RecordError
from k2.feeds.feed import FeedRecord
from k2.ingestion.log_reader import Place
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.records.definition import RECORD_TYPES

CREDIT_POLL_SECONDS = 0.05
NO_PROGRESS_TIMEOUT_SECONDS = 120.0
_log = structlog.get_logger("k2.feed")

CommittedOffsets = Callable[[], Mapping[Place, int]]
"""Asks the tables how far each partition has been taken in."""

OnFed = Callable[[FeedRecord, Delivery], None]


@dataclass(frozen=True, slots=True)
class FeedResult:
    """What became of a feed's records; refused ones did not fit their schema."""

    sent: int
    acknowledged: int
    failed: int
    refused: int


class Credits:
    """Keeps the log from growing more than `window` messages ahead of the tables in any partition.

    An embedded broker keeps little and forgets the oldest first, so a feeder that runs ahead would lose records.
    """

    def __init__(self, window: int, committed_offsets: CommittedOffsets) -> None:
        self._window = window
        self._committed_offsets = committed_offsets
        self._in_flight = 0
        self._log_ends: dict[Place, int] = {}
        self._committed: Mapping[Place, int] = {}

    def sent(self) -> None:
        """A record was queued."""
        self._in_flight += 1

    def delivered(self, delivery: Delivery) -> None:
        """A record's fate is known."""
        self._in_flight -= 1
        if delivery.partition is not None and delivery.offset is not None:
            place = (delivery.topic, delivery.partition)
            self._log_ends[place] = max(self._log_ends.get(place, 0), delivery.offset + 1)

    def wait(self, poll: Callable[[], None]) -> None:
        """Return when another record may be sent.

        Raises:
            DeliveryError: the tables made no progress for two minutes.
        """
        if self._ahead() < self._window:
            return
        give_up_at = time.monotonic() + NO_PROGRESS_TIMEOUT_SECONDS
        while True:
            poll()
            committed = self._committed_offsets()
            if committed != self._committed:
                give_up_at = time.monotonic() + NO_PROGRESS_TIMEOUT_SECONDS
            self._committed = committed
            # Half the window free, so that the tables are not asked again for every record.
            if self._ahead() < self._window // 2:
                return
            if time.monotonic() > give_up_at:
                raise DeliveryError(
                    f"the tables took in nothing for {NO_PROGRESS_TIMEOUT_SECONDS:.0f} s: check that a consumer runs"
                )
            time.sleep(CREDIT_POLL_SECONDS)

    def _ahead(self) -> int:
        behind = (end - self._committed.get(place, 0) for place, end in self._log_ends.items())
        return self._in_flight + max(behind, default=0)


def run_feed(
    feed: Iterable[FeedRecord],
    producer: MarketDataProducer,
    credits: Credits | None = None,
    on_fed: OnFed | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> FeedResult:
    """Produce every record of a feed and wait for the acknowledgements.

    Args:
        feed: what to send; paced already if it is to be paced.
        producer: open producer, left open.
        credits: limits how far the log may run ahead; None for a broker that keeps everything.
        on_fed: told what became of each record.
        stopping: asked before each record.

    Raises:
        DeliveryError: the queue stayed full, or credits did not come back.
    """
    sent = acknowledged = failed = refused = 0

    def delivered(item: FeedRecord, delivery: Delivery) -> None:
        nonlocal acknowledged, failed
        if delivery.error is None:
            acknowledged += 1
        else:
            failed += 1
        if credits is not None:
            credits.delivered(delivery)
        if on_fed is not None:
            on_fed(item, delivery)

    for item in feed:
        if stopping():
            break
        if credits is not None:
            credits.wait(producer.poll)
        try:
            producer.produce(
                RECORD_TYPES[item.data_type],
                item.asset_class,
                item.exchange,
                item.record,
                lambda delivery, fed=item: delivered(fed, delivery),  # type: ignore[misc]
            )
        except RecordError as error:
            refused += 1
            _log.error("record refused", error=str(error))
            continue
        sent += 1
        if credits is not None:
            credits.sent()
    producer.flush()
    return FeedResult(sent, acknowledged, failed, refused)
