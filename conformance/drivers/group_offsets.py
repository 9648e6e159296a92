"""What a consumer group has told Kafka."""

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition

from conformance.drivers.log_tap import ANSWER_TIMEOUT_SECONDS


def reported_offsets(
    bootstrap_servers: str, group_id: str, places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """The committed offset of each partition that has one; asking does not join the group."""
    client = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group_id, "log_level": 2})
    try:
        answers = client.committed([TopicPartition(*place) for place in places], timeout=ANSWER_TIMEOUT_SECONDS)
    finally:
        client.close()
    return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}
