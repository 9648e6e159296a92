"""What an administrator can do to a real Kafka cluster, awaited until it is so."""

import base64
import time
import uuid
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from conformance.stacks.containers.errors import ServiceError

REPLICATION = 3
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_QUIET = 0
_NOT_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    # The client's own: it has found no leader of any of them.
    KafkaError._NOENT,
)


def new_cluster_id() -> str:
    """A cluster's id as Kafka makes it: 16 random bytes in base 64, none that a command would take for an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made


def wait_for_brokers(bootstrap_servers: str, count: int) -> None:
    """Wait until so many brokers are part of the cluster, so that topics can have as many replicas.

    Raises:
        ServiceError: they are not in time.
    """
    cluster = KafkaCluster(bootstrap_servers)
    if not _becomes_true(lambda: cluster.broker_count() >= count):
        raise ServiceError(f"of {count} Kafka brokers only {cluster.broker_count()} joined the cluster")


class KafkaCluster:
    """An administrator's hand on a cluster.

    Each method waits until what it did can be seen.

    Raises:
        ServiceError: the cluster refuses, or does not answer.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": _QUIET})

    def broker_count(self) -> int:
        """Brokers the cluster tells its clients of; 0 where nobody answers."""
        try:
            return len(self._admin.list_topics(timeout=5).brokers)
        except KafkaException:
            return 0

    def topics(self) -> set[str]:
        """Every topic there is."""
        try:
            return set(self._admin.list_topics(timeout=_PATIENCE_SECONDS).topics)
        except KafkaException as error:
            raise _refused("list its topics", error) from error

    def leaders(self, topic: str) -> dict[int, int]:
        """The id of the broker that leads each partition; a partition that nobody leads is left out."""
        try:
            described = self._admin.list_topics(topic, timeout=_PATIENCE_SECONDS).topics[topic]
        except KafkaException as error:
            raise _refused(f"describe topic {topic}", error) from error
        return {number: found.leader for number, found in described.partitions.items() if found.leader >= 0}

    def set_session(self, group: str, timeout_ms: int, heartbeat_interval_ms: int) -> None:
        """How long members of a group that the brokers rule (KIP-848) may be silent, and how often they speak."""
        wanted = {"consumer.session.timeout.ms": timeout_ms, "consumer.heartbeat.interval.ms": heartbeat_interval_ms}
        entries = [
            ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
        try:
            self._admin.incremental_alter_configs([resource])[resource].result()
        except KafkaException as error:
            raise _refused(f"set the session of group {group}", error) from error

    def create_topics(self, names: Iterable[str], partitions: int) -> None:
        """Create topics with a replica on every broker; one of the same name may just be going."""
        pending = set(names)
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while pending:
            asked = self._admin.create_topics([NewTopic(name, partitions, REPLICATION) for name in pending])
            for name, answer in asked.items():
                try:
                    answer.result()
                except KafkaException as error:
                    going = error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
                    if not going or time.monotonic() > give_up_at:
                        raise _refused(f"create topic {name}", error) from error
                    time.sleep(_LOOK_SECONDS)
                else:
                    pending.discard(name)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all that is in them; what is not there stays so."""
        # Not those of a list of topics only: the broker that gives it may not know a new one yet.
        gone = sorted(names)
        for name, answer in self._admin.delete_topics(gone, operation_timeout=_PATIENCE_SECONDS).items():
            try:
                answer.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise _refused(f"delete topic {name}", error) from error
        if not _becomes_true(lambda: not self.topics() & set(gone)):
            raise ServiceError(f"Kafka still has topics that were deleted: {', '.join(gone)}")

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Forget all messages of a partition before an offset, as retention does."""
        place = TopicPartition(topic, partition, before_offset)
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            # Asked anew each time: a client goes on with the leader it remembers of a topic that was re-created since.
            self.leaders(topic)
            try:
                self._admin.delete_records([place])[place].result()
                return
            except KafkaException as error:
                # Of a topic that was just made, not every broker knows yet who leads it.
                if error.args[0].code() not in _NOT_YET or time.monotonic() > give_up_at:
                    raise _refused(f"delete records of {topic}/{partition}", error) from error
            time.sleep(_LOOK_SECONDS)


def _becomes_true(holds: Callable[[], bool]) -> bool:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _refused(doing: str, error: KafkaException) -> ServiceError:
    return ServiceError(f"Kafka does not {doing}: {error.args[0].str()}")
