"""Making the platform's topics on a cluster, for whoever sets one up."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from k2.ingestion.kafka import ANSWER_TIMEOUT_SECONDS, administrative_client, asking_broker, log_ranges, unavailable
from k2.settings import KafkaSettings


def create_topics(
    kafka: KafkaSettings, names: Iterable[str], partitions: int, replication_factor: int
) -> tuple[str, ...]:
    """Create the topics that are missing; one that is there stays as it is.

    Returns:
        those that were created.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: the cluster refuses, for its number of brokers or our rights.
    """
    admin = administrative_client(kafka)
    there = asking_broker(
        lambda: admin.list_topics(timeout=ANSWER_TIMEOUT_SECONDS), f"no answer from {kafka.bootstrap_servers}"
    ).topics
    missing = [NewTopic(name, partitions, replication_factor) for name in names if name not in there]
    created = []
    for name, answer in (admin.create_topics(missing) if missing else {}).items():
        try:
            answer.result()
        except KafkaException as error:
            # Somebody else was faster.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise unavailable(error, f"creating topic {name}") from error
        else:
            created.append(name)
    return tuple(created)


def count_messages(kafka: KafkaSettings, names: Iterable[str]) -> dict[str, int]:
    """How many messages each of these topics holds; one that is not there is left out.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: it refuses.
    """
    counts: dict[str, int] = {}
    for (topic, _), (first, end) in _ranges(kafka, names).items():
        counts[topic] = counts.get(topic, 0) + end - first
    return counts


def log_ends(kafka: KafkaSettings, names: Iterable[str]) -> dict[tuple[str, int], int]:
    """The offset after the last message of each (topic, partition) that is there.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: it refuses.
    """
    return {place: end for place, (_, end) in _ranges(kafka, names).items()}


def delete_messages(kafka: KafkaSettings, names: Iterable[str]) -> None:
    """Delete every message of these topics as of now; the topics stay, and their offsets go on.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: it refuses.
    """
    ranges = _ranges(kafka, names)
    before = [TopicPartition(topic, number, end) for (topic, number), (first, end) in ranges.items() if first < end]
    # Kept by a name: a client that is let go takes the answers with it, and whoever waits for one waits for ever.
    admin = administrative_client(kafka)
    asked = admin.delete_records(before, request_timeout=ANSWER_TIMEOUT_SECONDS) if before else {}
    for place, answer in asked.items():
        try:
            answer.result()
        except KafkaException as error:
            raise unavailable(error, f"deleting messages of {place.topic}/{place.partition}") from error


def _ranges(kafka: KafkaSettings, names: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
    admin = administrative_client(kafka)
    there = asking_broker(
        lambda: admin.list_topics(timeout=ANSWER_TIMEOUT_SECONDS), f"no answer from {kafka.bootstrap_servers}"
    ).topics
    return log_ranges(admin, [(name, number) for name in names if name in there for number in there[name].partitions])
