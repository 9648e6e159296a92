"""Making the platform's topics on a cluster, for whoever sets one up."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from k2.ingestion.kafka import ANSWER_TIMEOUT_SECONDS, administrative_client, asking_broker, unavailable
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
