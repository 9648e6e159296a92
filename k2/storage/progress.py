"""Progress: how far each Kafka partition has been taken into a table, kept in the table's own snapshots.

The table is the only authority. Every snapshot K2 commits carries the whole map, so the newest snapshot of the current
branch is the answer, and rolling the table back rolls progress back with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from k2.errors import ProgressError

PROGRESS_PROPERTY = "k2.progress"
_FORMAT = 2
_READ_FORMATS = (1, 2)


@dataclass(frozen=True, slots=True, order=True)
class PartitionKey:
    """One partition of one topic of one cluster."""

    cluster_id: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.cluster_id}/{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """Where a partition stands.

    Attributes:
        next_offset: the first offset not yet in the table.
        state_path: the sequence state as of that offset, a file in the warehouse; None where nothing was judged yet.
    """

    next_offset: int
    state_path: str | None = None


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from another of the same name.

    Attributes:
        partition_count: how many partitions it has.
        topic_id: given by the cluster at its creation; None where the cluster gives none or nobody asked.
    """

    partition_count: int
    topic_id: str | None = None


Topics = Mapping[str, TopicIdentity]
"""By "cluster/topic"."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The whole map, and the topics it is about."""

    partitions: Mapping[PartitionKey, PartitionProgress] = field(default_factory=dict)
    topics: Topics = field(default_factory=dict)

    def advanced(self, changes: Mapping[PartitionKey, PartitionProgress], topics: Topics) -> "Progress":
        """This map with some partitions moved and all others carried forward."""
        return Progress({**self.partitions, **changes}, {**self.topics, **topics})

    def cluster_ids(self) -> frozenset[str]:
        """Clusters this table has taken records from."""
        return frozenset(key.cluster_id for key in self.partitions)

    def to_json(self) -> str:
        """Compact JSON for a snapshot summary."""
        nested: dict[str, dict[str, dict[str, list[object]]]] = {}
        for key, value in sorted(self.partitions.items()):
            by_topic = nested.setdefault(key.cluster_id, {})
            by_topic.setdefault(key.topic, {})[str(key.partition)] = [value.next_offset, value.state_path]
        topics = {name: [topic.partition_count, topic.topic_id] for name, topic in sorted(self.topics.items())}
        document = {"format": _FORMAT, "clusters": nested, "topics": topics}
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Read what `to_json` wrote.

        Raises:
            ProgressError: the text is damaged or written by a newer format.
        """
        try:
            document = json.loads(text)
            if document["format"] not in _READ_FORMATS:
                raise ProgressError(
                    f"the table's progress has format {document['format']}, this version reads "
                    f"{' and '.join(map(str, _READ_FORMATS))}: upgrade K2"
                )
            partitions = {
                PartitionKey(cluster_id, topic, int(partition)): _partition_progress(entry)
                for cluster_id, topics in document["clusters"].items()
                for topic, by_partition in topics.items()
                for partition, entry in by_partition.items()
            }
            if document["format"] == 1:
                counts = document["partition_counts"].items()
                return cls(partitions, {name: TopicIdentity(_whole_number(count)) for name, count in counts})
            return cls(partitions, {name: _topic(entry) for name, entry in document["topics"].items()})
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ProgressError(
                f"the table's progress cannot be read ({error}): roll the table back to its last good snapshot"
            ) from error


def _partition_progress(entry: object) -> PartitionProgress:
    match entry:
        case [next_offset, str() | None as state_path]:
            return PartitionProgress(_whole_number(next_offset), state_path)
    raise ValueError(f"{entry!r:.60} is no partition's progress")


def _topic(entry: object) -> TopicIdentity:
    match entry:
        case [count, str() | None as topic_id]:
            return TopicIdentity(_whole_number(count), topic_id)
    raise ValueError(f"{entry!r:.60} is no topic's identity")


def _whole_number(value: object) -> int:
    # A number that had to be converted would be a guess.
    if type(value) is int and value >= 0:
        return value
    raise ValueError(f"{value!r:.60} is no whole number")
