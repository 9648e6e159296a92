"""Progress: how far each Kafka partition has been taken into a table, kept in the table's own snapshots.

The table is the only authority. Every snapshot K2 commits carries the whole map, so the newest snapshot of the current
branch is the answer, and rolling the table back rolls progress back with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from k2.errors import ProgressError

PROGRESS_PROPERTY = "k2.progress"
_FORMAT = 1


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
class Progress:
    """The whole map, and the number of partitions each topic had (by "cluster/topic")."""

    partitions: Mapping[PartitionKey, PartitionProgress] = field(default_factory=dict)
    partition_counts: Mapping[str, int] = field(default_factory=dict)

    def advanced(
        self, changes: Mapping[PartitionKey, PartitionProgress], partition_counts: Mapping[str, int]
    ) -> "Progress":
        """This map with some partitions moved and all others carried forward."""
        return Progress({**self.partitions, **changes}, {**self.partition_counts, **partition_counts})

    def cluster_ids(self) -> frozenset[str]:
        """Clusters this table has taken records from."""
        return frozenset(key.cluster_id for key in self.partitions)

    def to_json(self) -> str:
        """Compact JSON for a snapshot summary."""
        nested: dict[str, dict[str, dict[str, list[object]]]] = {}
        for key, value in sorted(self.partitions.items()):
            topics = nested.setdefault(key.cluster_id, {})
            topics.setdefault(key.topic, {})[str(key.partition)] = [value.next_offset, value.state_path]
        document = {"format": _FORMAT, "clusters": nested, "partition_counts": dict(self.partition_counts)}
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Read what `to_json` wrote.

        Raises:
            ProgressError: the text is damaged or written by a newer format.
        """
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise ProgressError(
                    f"the table's progress has format {document['format']}, this version reads {_FORMAT}: upgrade K2"
                )
            partitions = {
                PartitionKey(cluster_id, topic, int(partition)): _partition_progress(entry)
                for cluster_id, topics in document["clusters"].items()
                for topic, by_partition in topics.items()
                for partition, entry in by_partition.items()
            }
            counts = {topic: _whole_number(count) for topic, count in document["partition_counts"].items()}
            return cls(partitions, counts)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ProgressError(
                f"the table's progress cannot be read ({error}): roll the table back to its last good snapshot"
            ) from error


def _partition_progress(entry: object) -> PartitionProgress:
    match entry:
        case [next_offset, str() | None as state_path]:
            return PartitionProgress(_whole_number(next_offset), state_path)
    raise ValueError(f"{entry!r:.60} is no partition's progress")


def _whole_number(value: object) -> int:
    # A number that had to be converted would be a guess.
    if type(value) is int and value >= 0:
        return value
    raise ValueError(f"{value!r:.60} is no whole number")
