"""The partitions a consumer owns: where the table stands in each, and the sequence state as of that offset.

Taking a partition over is where log and table must agree. Whatever cannot be told apart from loss stops the consumer:
another cluster, a topic made anew, another number of partitions, an offset that is not in the log, a lost checkpoint.
"""

from collections.abc import Mapping, Sequence

from k2.errors import (
    ForeignClusterError,
    OffsetOutsideLogError,
    PartitionCountChangedError,
    TopicRecreatedError,
)
from k2.ingestion.judging import PartitionState
from k2.ingestion.log_reader import LogReader, Place
from k2.records.definition import RecordType
from k2.settings import Settings
from k2.storage.progress import PartitionKey, PartitionProgress, Progress, TopicIdentity
from k2.storage.writer import TableWriter


class AssignedPartitions:
    """What one consumer holds of its topics. It belongs to the consumer's thread, save where a method says otherwise.

    Attributes:
        states: sequence state of each partition; ahead of the table while a batch is under way.
        topics: the topics as they were when a partition of theirs was taken over, by "cluster/topic".
    """

    def __init__(self, settings: Settings, record_type: RecordType, writer: TableWriter) -> None:
        self._settings = settings
        self._record_type = record_type
        self._writer = writer
        self._cluster_id = ""
        # What the table held when each partition was taken over, or after its last commit; None: not known to it.
        self._table_offsets: dict[Place, int | None] = {}
        self._starts: dict[Place, int] = {}
        self.states: dict[Place, PartitionState] = {}
        self.topics: dict[str, TopicIdentity] = {}

    def take_over(self, places: Sequence[Place], log: LogReader) -> dict[Place, int]:
        """Where each partition must start; its state is loaded.

        Raises:
            ProgressError: log and table do not belong together; nothing may be consumed.
            UnavailableError: one of them does not answer.
        """
        self._cluster_id = log.cluster_id()
        progress = self._writer.progress()
        self._check_cluster(progress)
        for topic in sorted({name for name, _ in places}):
            name = f"{self._cluster_id}/{topic}"
            now = log.topic_identity(topic)
            _check_topic(topic, progress.topics.get(name, now), now)
            self.topics[name] = now
        ranges = log.offset_ranges(places)
        return {place: self._start(place, progress, ranges[place]) for place in places}

    def take_over_again(self, log: LogReader) -> dict[Place, int]:
        """The same for all partitions held, after a batch that was not committed."""
        return self.take_over(tuple(self.states), log)

    def give_up(self, places: Sequence[Place]) -> None:
        """Forget partitions that belong to somebody else now."""
        for place in places:
            self.states.pop(place, None)
            self._table_offsets.pop(place, None)
            self._starts.pop(place, None)

    def check_topics(self, places: Sequence[Place], log: LogReader) -> None:
        """Make sure that messages polled before this call came from the topics that were taken over.

        A topic that is made anew under a running client goes on at the old position, with other messages.

        Raises:
            TopicRecreatedError: a topic was made anew.
            PartitionCountChangedError: a topic has other partitions.
        """
        for topic in sorted({name for name, _ in places}):
            _check_topic(topic, self.topics[f"{self._cluster_id}/{topic}"], log.topic_identity(topic))

    def committed(self, next_offsets: Mapping[Place, int]) -> None:
        """The table has moved."""
        self._table_offsets.update(next_offsets)

    def table_offset(self, place: Place) -> int | None:
        """What the table held when last asked; None where it did not know the partition."""
        return self._table_offsets[place]

    def positions(self) -> dict[Place, int]:
        """The first offset of each partition that is not in the table; may be called from any thread."""
        # Copies, because partitions come and go in the consumer's thread.
        return {**self._starts, **{place: at for place, at in dict(self._table_offsets).items() if at is not None}}

    def key(self, place: Place) -> PartitionKey:
        """The partition's name in the table's progress."""
        return PartitionKey(self._cluster_id, *place)

    def _start(self, place: Place, progress: Progress, log_range: tuple[int, int]) -> int:
        entry = progress.partitions.get(self.key(place))
        first, end = log_range
        start = entry.next_offset if entry is not None else first
        if not first <= start <= end:
            raise OffsetOutsideLogError(
                f"{place[0]}/{place[1]}: the table needs offset {start}, the log holds {first} to {end}: records are "
                "gone or the topic was made anew; restore the topic or roll the table back"
            )
        self.states[place] = self._load_state(entry)
        self._starts[place] = start
        self._table_offsets[place] = entry.next_offset if entry is not None else None
        return start

    def _load_state(self, entry: PartitionProgress | None) -> PartitionState:
        if entry is None or entry.state_path is None:
            return PartitionState.empty(self._settings.sequence, self._settings.deduplication)
        state = self._writer.read_state(entry.state_path)
        return PartitionState.from_arrow(state, self._settings.sequence, self._settings.deduplication)

    def _check_cluster(self, progress: Progress) -> None:
        known = progress.cluster_ids()
        if known and self._cluster_id not in known and not self._settings.consumer.accept_new_cluster:
            raise ForeignClusterError(
                f"{self._record_type.table} was filled from cluster {', '.join(sorted(known))}, this is "
                f"{self._cluster_id}: check kafka.bootstrap_servers, or set consumer.accept_new_cluster to start over"
            )


def _check_topic(topic: str, before: TopicIdentity, now: TopicIdentity) -> None:
    if None not in (before.topic_id, now.topic_id) and before.topic_id != now.topic_id:
        raise TopicRecreatedError(
            f"{topic} was deleted and made anew since the table was last written: its offsets mean other messages now; "
            "restore the topic, or have a new table filled from it"
        )
    if before.partition_count != now.partition_count:
        raise PartitionCountChangedError(
            f"{topic} had {before.partition_count} partitions when the table was last written and has "
            f"{now.partition_count} now: keys have moved between partitions, so sequence state must be rebuilt"
        )
