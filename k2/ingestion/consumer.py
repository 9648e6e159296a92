"""The consumer: from Kafka to the table, each record once.

The table is the only authority on progress; what Kafka is told serves lag displays and is never read back. The steps:

1. ASSIGN   Start each partition at the table's next offset (none: the beginning of the log) with the sequence state of
            that offset. What cannot be told apart from loss stops with an error, see k2.ingestion.assignment.
2. POLL     Take a batch. Its range comes from the client's positions, not from the first and last message. Then make
            sure that its topics are still the ones that were assigned.
3. DECODE   Bytes to Arrow columns; what cannot be decoded is rejected.
4. JUDGE    Validation, deduplication, sequence verdicts against the state in memory; more rejects.
5. WRITE    Data files and a state checkpoint for each partition, visible to nobody yet.
6. REJECT   All rejects of the batch to the dead letter queue, acknowledged before anything else happens.
7. COMMIT   One snapshot moves rows, progress and state together, and only if the table still stands where the batch
            began. A batch of nothing but rejects commits an empty snapshot.
8. REPORT   Metrics, and offsets to Kafka.

A crash between any two steps leaves either no trace in the table (files nobody refers to, dead letters that will be
sent again under the same coordinates) or the whole batch. So Kafka delivers at least once and the table holds each
record once.

`on_step` is called after every step. Tracing uses it, and whoever wants to see what a crash does at that point.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import structlog

from k2.clock import Clock
from k2.errors import K2Error, OverloadedError, RetriesExhaustedError, StaleWriterError, UnavailableError
from k2.ingestion.assignment import AssignedPartitions
from k2.ingestion.dead_letters import DeadLetter, DeadLetterQueue, Headers
from k2.ingestion.judging import BatchJudge, JudgedBatch
from k2.ingestion.log_reader import LogReader, Place, PolledBatch
from k2.ingestion.registry import SchemaRegistry
from k2.observability.metrics import Metrics
from k2.records.decode import BatchDecoder, Reject
from k2.records.definition import RECORD_TYPES, topic
from k2.resilience.breakers import Dependency
from k2.resilience.failures import is_transient
from k2.resilience.retries import Retries, Retry
from k2.resilience.safeguards import Safeguards
from k2.resilience.shedding import BATCHES, RECORD_AGE
from k2.settings import Settings
from k2.storage.progress import PartitionKey
from k2.storage.writer import Advance, TableWriter, WrittenFiles

_log = structlog.get_logger("k2.consumer")


class Step(IntEnum):
    """The numbered steps of the protocol."""

    ASSIGN = 1
    POLL = 2
    DECODE = 3
    JUDGE = 4
    WRITE = 5
    REJECT = 6
    COMMIT = 7
    REPORT = 8


OnStep = Callable[[Step, int], None]
"""Called after a step with the number of batches begun so far."""


def ignore_step(step: Step, batch: int) -> None:
    """The observer that observes nothing."""


def consumer_group(settings: Settings) -> str:
    """The Kafka group of a consumer: "k2-trades"."""
    return f"{settings.kafka.group_id}-{settings.consumer.data_type}"


@dataclass(frozen=True, slots=True)
class _JudgedMessages:
    """A batch on its way into the table, and what is counted of it once it is there."""

    polled: PolledBatch
    judged: JudgedBatch
    rejects: Sequence[Reject]
    polled_at: float


class MarketDataConsumer:
    """Consumes one data type into its table. Single-threaded; `stop` may be called from a signal handler.

    Raises (from `run`):
        ProgressError: log and table disagree; a person must decide.
        RetriesExhaustedError: a dependency failed for longer than every retry; nothing was committed.
        StaleWriterError: another writer was first, every time.
        RefusedError: a dependency answers and refuses; that is not retried.
        OverloadedError: the process is short of memory; it stopped between two batches.
    """

    def __init__(
        self,
        settings: Settings,
        registry: SchemaRegistry,
        writer: TableWriter,
        dead_letters: DeadLetterQueue,
        metrics: Metrics,
        clock: Clock,
        on_step: OnStep = ignore_step,
        safeguards: Safeguards | None = None,
    ) -> None:
        self._settings = settings
        self._safeguards = safeguards
        self._record_type = RECORD_TYPES[settings.consumer.data_type]
        self._writer = writer
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._clock = clock
        self._on_step = on_step
        self._decoder = BatchDecoder(self._record_type, registry.writer_schema)
        self._judge = BatchJudge(self._record_type, settings.consumer.exchanges)
        self._partitions = AssignedPartitions(settings, self._record_type, writer)
        self._stopping = False
        self._must_rewind = False
        self._unanswered: _JudgedMessages | None = None
        self._batches = 0
        prefix, data_type = settings.kafka.topic_prefix, self._record_type.data_type
        topics = [topic(asset_class, data_type, prefix) for asset_class in settings.consumer.asset_classes]
        # One group a data type, so that consumers of different tables do not rebalance one another.
        kafka = settings.kafka.model_copy(update={"group_id": consumer_group(settings)})
        breaker = None if safeguards is None else safeguards.breakers[Dependency.BROKER]
        self._log_reader = LogReader(kafka, settings.consumer, topics, self._assign, self._lost, breaker)
        # Computed when asked for: what a batch sets stands still when no batch comes, which is when it is needed.
        metrics.compute("k2_consumer_lag_messages", self._lag_messages)
        metrics.compute("k2_consumer_lag_seconds", self._lag_seconds)

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Consume until stopped."""
        retries = Retries(self._settings.retry, self._retrying)
        self._writer.recover_audit()
        try:
            with nullcontext() if self._safeguards is None else self._safeguards.watching():
                while not self._stopping:
                    self._stop_if_overloaded()
                    for attempt in retries:
                        with attempt:
                            self._next_batch()
        except K2Error as error:
            if isinstance(error, StaleWriterError) or not is_transient(error):
                raise
            raise RetriesExhaustedError(
                f"gave up after {self._settings.retry.attempts} attempts, nothing was committed: {error}"
            ) from error
        finally:
            self._log_reader.close()
            self._dead_letters.close()

    def progress(self) -> tuple[int, int]:
        """How far the table has come in this consumer's partitions, and how many messages wait in the log.

        The first is the sum of the next offsets. May be called from any thread.
        """
        positions = self._partitions.positions()
        ends = {place: self._log_reader.end_offset(place) for place in positions}
        waiting = sum(max(0, end - positions[place]) for place, end in ends.items() if end is not None)
        return sum(positions.values()), waiting

    def _stop_if_overloaded(self) -> None:
        if self._sheds(BATCHES):
            raise OverloadedError(
                "short of memory, stopped between two batches: start again, and if it recurs lower "
                "K2_CONSUMER__BATCH_ROWS or give the process more"
            )

    def _sheds(self, what: str) -> bool:
        if self._safeguards is None or not self._safeguards.shedding.sheds(what):
            return False
        self._safeguards.shedding.count(what)
        return True

    def _retrying(self, retry: Retry) -> None:
        labels = {"data_type": self._record_type.data_type, "reason": retry.reason}
        self._metrics.increment("k2_retries_total", labels)
        _log.warning(
            "retrying",
            attempt=retry.attempt,
            attempts=retry.attempts,
            wait_seconds=round(retry.wait_seconds, 3),
            reason=retry.reason,
            error=str(retry.error),
        )

    def _next_batch(self) -> None:
        rewound = self._must_rewind
        if rewound:
            self._rewind()
        self._must_rewind = True
        started = time.perf_counter()
        polled = self._log_reader.poll(lambda: self._stopping)
        # An empty poll is no success while the batch that failed has not come again: the attempts go on counting.
        while polled is None and rewound and not self._stopping:
            polled = self._log_reader.poll(lambda: self._stopping)
        if polled is not None:
            self._partitions.check_topics(tuple(polled.next_offsets), self._log_reader)
            self._batches += 1
            self._step_done(Step.POLL, started)
            self._process(polled)
        self._must_rewind = False

    def _process(self, polled: PolledBatch) -> None:
        polled_at = time.perf_counter()
        with self._timed(Step.DECODE):
            decoded = self._decoder.decode(polled.values)
        with self._timed(Step.JUDGE):
            judged = self._judge.judge(polled, decoded, self._partitions.states)
        with self._timed(Step.WRITE):
            written = self._writer.write_rows(judged.rows)
            advances = dict(self._advance(place, offset) for place, offset in polled.next_offsets.items())
        rejects = (*decoded.rejects, *judged.rejects)
        with self._timed(Step.REJECT):
            self._dead_letters.send([_dead_letter(polled, reject) for reject in rejects])
        batch = _JudgedMessages(polled, judged, rejects, polled_at)
        with self._timed(Step.COMMIT):
            self._commit(written, advances, batch)
            self._partitions.committed(polled.next_offsets)
        with self._timed(Step.REPORT):
            self._record(batch)
            self._log_reader.report(polled.next_offsets)

    def _commit(self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance], batch: _JudgedMessages) -> None:
        name = "; ".join(f"{key} to {advance.next_offset}" for key, advance in advances.items())
        try:
            self._writer.commit(written, advances, self._partitions.topics, name)
        except StaleWriterError:
            self._count_commit("refused")
            raise
        except K2Error as error:
            self._count_commit("failed")
            # Without an answer it may hold all the same, which the table tells when it is asked again.
            self._unanswered = batch if isinstance(error, UnavailableError) else None
            raise

    def _advance(self, place: Place, next_offset: int) -> tuple[PartitionKey, Advance]:
        key, state = self._partitions.key(place), self._partitions.states[place].to_arrow()
        return key, Advance(
            self._partitions.table_offset(place), next_offset, self._writer.write_state(state, key, next_offset)
        )

    def _assign(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Step 1 for newly assigned partitions: where each must start."""
        with self._timed(Step.ASSIGN):
            starts = self._partitions.take_over(places, self._log_reader)
        self._count_rebalance("assigned")
        _log.info("assigned", partitions={f"{name}/{number}": start for (name, number), start in starts.items()})
        return starts

    def _lost(self, places: Sequence[Place]) -> None:
        self._partitions.give_up(places)
        self._count_rebalance("lost")
        _log.info("given up", partitions=[f"{name}/{number}" for name, number in places])

    def _rewind(self) -> None:
        """After a failed batch: the state in memory has seen too much, so go back to what the table holds."""
        starts = self._partitions.take_over_again(self._log_reader)
        self._log_reader.restart(starts)
        unanswered, self._unanswered = self._unanswered, None
        if unanswered is not None and unanswered.polled.next_offsets.items() <= starts.items():
            self._record(unanswered)
        _log.warning("rewound to the table", partitions={f"{t}/{p}": start for (t, p), start in starts.items()})

    @contextmanager
    def _timed(self, step: Step) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._step_done(step, started)

    def _step_done(self, step: Step, started: float) -> None:
        labels = {"data_type": self._record_type.data_type, "step": step.name.lower()}
        self._metrics.observe("k2_consumer_step_seconds", time.perf_counter() - started, labels)
        self._on_step(step, self._batches)

    def _count_commit(self, outcome: str) -> None:
        self._metrics.increment(
            "k2_consumer_commits_total", {"data_type": self._record_type.data_type, "outcome": outcome}
        )

    def _count_rebalance(self, change: str) -> None:
        self._metrics.increment(
            "k2_consumer_rebalances_total", {"data_type": self._record_type.data_type, "kind": change}
        )

    def _record(self, batch: _JudgedMessages) -> None:
        """Count a batch that the table holds."""
        kind, judged = {"data_type": self._record_type.data_type}, batch.judged
        count = self._metrics.increment
        self._count_commit("success")
        self._metrics.observe("k2_consumer_batch_seconds", time.perf_counter() - batch.polled_at, kind)
        self._metrics.observe("k2_consumer_batch_rows", len(batch.polled.messages), kind)
        # The batch's first message waited longest.
        sent_at_ms = batch.polled.messages[0].timestamp()[1]
        delivery_seconds = max(0.0, self._clock.wall_ns() / 1e9 - sent_at_ms / 1e3)
        self._metrics.observe("k2_consumer_delivery_seconds", delivery_seconds, kind)
        count("k2_messages_received_total", kind, len(batch.polled.messages))
        count("k2_duplicates_detected_total", kind, judged.duplicates)
        for outcome, number in judged.looked_up._asdict().items():
            count("k2_identifiers_looked_up_total", {**kind, "outcome": outcome}, number)
        count("k2_sequence_keys_forgotten_total", kind, judged.keys_forgotten)
        for tracker, number in judged.numbers_lost.items():
            count("k2_sequence_numbers_lost_total", {**kind, "tracker": tracker}, number)
        for flag, number in judged.flagged.items():
            count("k2_rows_flagged_total", {**kind, "rule": str(flag.name).lower()}, number)
        for event, number in judged.events.items():
            count("k2_sequence_events_total", {**kind, "event": event.name}, number)
        for exchange, number in judged.gaps_by_exchange.items():
            count("k2_sequence_gaps_total", {**kind, "exchange": exchange}, number)
        for reject in batch.rejects:
            count("k2_messages_rejected_total", {**kind, "stage": reject.stage, "reason": reject.reason})

    def _lag_messages(self) -> Iterator[tuple[Mapping[str, str], float]]:
        for place, offset in self._partitions.positions().items():
            end = self._log_reader.end_offset(place)
            if end is not None:
                labels = {"data_type": self._record_type.data_type, "partition": f"{place[0]}/{place[1]}"}
                yield labels, max(0, end - offset)

    def _lag_seconds(self) -> Iterator[tuple[Mapping[str, str], float]]:
        if self._sheds(RECORD_AGE):
            return
        now_ns = self._clock.wall_ns()
        ages = [entry.age_seconds(now_ns) for entry in self._writer.newest_rows()]
        if ages:
            yield {"data_type": self._record_type.data_type}, min(ages)


def _dead_letter(polled: PolledBatch, reject: Reject) -> DeadLetter:
    message = polled.messages[reject.index]
    return DeadLetter(
        topic=polled.topic_names[polled.topics[reject.index]],
        partition=int(polled.partitions[reject.index]),
        offset=int(polled.offsets[reject.index]),
        key=message.key(),
        value=polled.values[reject.index],
        headers=cast("Headers", tuple(message.headers() or ())),
        stage=reject.stage,
        error_class=reject.reason,
        message=reject.detail,
    )
