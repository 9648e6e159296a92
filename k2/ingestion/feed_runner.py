"""Feeds into Kafka: every record of a feed through the producer, never further ahead of the tables than allowed."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import structlog

from k2.errors import DeliveryError, RecordError
from k2.feeds.feed import FeedRecord
from k2.ingestion.log_reader import Place
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.records.definition import RECORD_TYPES

CREDIT_POLL_SECONDS = 0.05
NO_PROGRESS_TIMEOUT_SECONDS = 120.0
BATCH_RECORDS = 2_000
"""As many at once as a feed that need not be waited for is best sent."""
SMALLEST_BATCH = 100
"""Fewer are sent one by one: loading what encodes batches would take longer."""
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

    def sent(self, records: int = 1) -> None:
        """Records were queued."""
        self._in_flight += records

    def delivered(self, delivery: Delivery) -> None:
        """A record's fate is known."""
        self._in_flight -= 1
        if delivery.partition is not None and delivery.offset is not None:
            place = (delivery.topic, delivery.partition)
            self._log_ends[place] = max(self._log_ends.get(place, 0), delivery.offset + 1)

    def wait(self, poll: Callable[[], None], wanted: int = 1) -> int:
        """Return when more may be sent, and how many, `wanted` at most.

        Raises:
            DeliveryError: the tables made no progress for two minutes.
        """
        room = self._window - self._ahead()
        # Half a window is enough: waiting for more would keep the tables waiting too.
        if room >= min(wanted, max(1, self._window // 2)):
            return min(wanted, room)
        give_up_at = time.monotonic() + NO_PROGRESS_TIMEOUT_SECONDS
        while True:
            poll()
            committed = self._committed_offsets()
            if committed != self._committed:
                give_up_at = time.monotonic() + NO_PROGRESS_TIMEOUT_SECONDS
            self._committed = committed
            # Half the window free, so that the tables are not asked again for every record.
            if self._ahead() < self._window // 2:
                return min(wanted, self._window - self._ahead())
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
    batch_records: int = 1,
) -> FeedResult:
    """Produce every record of a feed and wait for the acknowledgements.

    Args:
        feed: what to send; paced already if it is to be paced.
        producer: open producer, left open.
        credits: limits how far the log may run ahead; None for a broker that keeps everything.
        on_fed: told what became of each record.
        stopping: asked before each record, or each batch.
        batch_records: how many are taken from the feed and sent at once. More than one is faster, and only for a feed
            that need not be waited for.

    Raises:
        DeliveryError: the queue stayed full, or credits did not come back.
        CircuitOpenError: the broker is left alone.
    """
    run = _Run(producer, credits, on_fed)
    records = iter(feed)
    while not stopping():
        batch, failure = _taken(records, run.room(batch_records))
        if len(batch) >= SMALLEST_BATCH:
            run.send_batch(batch)
        else:
            for item in batch:
                run.send(item)
        if failure is not None:
            raise failure
        if not batch:
            break
    producer.flush()
    return FeedResult(run.sent, run.acknowledged, run.failed, run.refused)


class _Run:
    """One feed on its way, and the counts of its result."""

    def __init__(self, producer: MarketDataProducer, credits: Credits | None, on_fed: OnFed | None) -> None:
        self.sent = self.acknowledged = self.failed = self.refused = 0
        self._producer = producer
        self._credits = credits
        self._on_fed = on_fed

    def room(self, wanted: int) -> int:
        """How many records may be sent now; waits until it is at least one."""
        return wanted if self._credits is None else self._credits.wait(self._producer.poll, wanted)

    def send(self, item: FeedRecord) -> None:
        """Send one record."""
        self._sending(1)
        try:
            self._producer.produce(
                RECORD_TYPES[item.data_type],
                item.asset_class,
                item.exchange,
                item.record,
                lambda delivery: self._delivered(item, delivery),
            )
        except RecordError as error:
            self._refuse(error)

    def send_batch(self, items: Sequence[FeedRecord]) -> None:
        """Send records, those of each topic together: only there their order means something."""
        self._sending(len(items))
        for (data_type, asset_class), of_topic in _by_topic(items):
            records = [item.record for item in of_topic]
            try:
                result = self._producer.produce_batch(
                    RECORD_TYPES[data_type], asset_class, records, self._delivered_of(of_topic)
                )
            except RecordError as error:
                for _ in of_topic:
                    self._refuse(error)
                continue
            for refusal in result.refused:
                self._refuse(refusal.error)

    def _sending(self, records: int) -> None:
        self.sent += records
        if self._credits is not None:
            self._credits.sent(records)

    def _refuse(self, error: RecordError) -> None:
        self.sent -= 1
        self.refused += 1
        if self._credits is not None:
            self._credits.sent(-1)
        _log.error("record refused", error=str(error))

    def _delivered_of(self, batch: Sequence[FeedRecord]) -> Callable[[int, Delivery], None]:
        return lambda index, delivery: self._delivered(batch[index], delivery)

    def _delivered(self, item: FeedRecord, delivery: Delivery) -> None:
        if delivery.error is None:
            self.acknowledged += 1
        else:
            self.failed += 1
        if self._credits is not None:
            self._credits.delivered(delivery)
        if self._on_fed is not None:
            self._on_fed(item, delivery)


def _taken(records: Iterator[FeedRecord], count: int) -> tuple[list[FeedRecord], Exception | None]:
    """The next records of a feed, and what it raised behind them: they are sent first."""
    taken: list[FeedRecord] = []
    try:
        taken.extend(islice(records, count))
    except Exception as error:  # noqa: BLE001 - whatever a feed raises
        return taken, error
    return taken, None


def _by_topic(items: Sequence[FeedRecord]) -> Iterator[tuple[tuple[str, str], list[FeedRecord]]]:
    """The records of each topic, in their order."""
    for topic, of_topic in groupby(sorted(items, key=_topic), key=_topic):
        yield topic, list(of_topic)


def _topic(item: FeedRecord) -> tuple[str, str]:
    return item.data_type, item.asset_class
