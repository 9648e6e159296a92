"""Configuration of the Kafka clients: every property that is not the client's default, and why."""

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from k2.errors import K2Error, UnavailableError
from k2.resilience.circuit_breaker import CircuitBreaker, guarded
from k2.resilience.failures import translated
from k2.settings import KafkaSettings

ANSWER_TIMEOUT_SECONDS = 10.0
_LOG_LEVEL_CRITICAL = 2
_REMEDY = "Check that the broker runs and kafka.bootstrap_servers names it"


_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


def producer_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """Acknowledged by all in-sync replicas, idempotent, batched for throughput."""
    return {
        **client_configuration(settings),
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 10,
        "batch.size": 1_000_000,
        "compression.type": "lz4",
        # The Java client's partitioner, so that a key goes to the same partition whoever produces it.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": settings.delivery_timeout_ms,
        "queue.buffering.max.messages": 200_000,
    }


def consumer_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """Offsets are ours to decide: nothing is committed, stored or reset by the client."""
    return {
        **client_configuration(settings),
        "group.id": settings.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        **_membership(settings),
        "max.poll.interval.ms": settings.max_poll_interval_ms,
        "enable.partition.eof": False,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 100_000,
        "fetch.message.max.bytes": 10_000_000,
        "topic.metadata.refresh.interval.ms": 30_000,
    }


def _membership(settings: KafkaSettings) -> dict[str, Any]:
    """How the group is kept; either way only the partitions that move stand still."""
    if settings.group_protocol == "consumer":
        return {"group.protocol": "consumer"}
    return {
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": settings.heartbeat_interval_ms,
        "partition.assignment.strategy": "cooperative-sticky",
    }


def check_broker(
    settings: KafkaSettings,
    answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    breaker: CircuitBreaker | None = None,
) -> None:
    """Ask for the cluster once, so that a wrong address is one clear error at the start, not a silent wait.

    Raises:
        UnavailableError: no broker answers in time.
        RefusedError: it refuses.
    """
    client = Producer(client_configuration(settings))
    asking_broker(
        lambda: client.list_topics(timeout=answer_timeout_seconds),
        f"no answer from {settings.bootstrap_servers}",
        breaker,
    )


def administrative_client(settings: KafkaSettings) -> AdminClient:
    """A client that asks about topics and reads none."""
    return AdminClient(client_configuration(settings))


def log_ranges(
    admin: AdminClient, places: Sequence[tuple[str, int]], breaker: CircuitBreaker | None = None
) -> dict[tuple[str, int], tuple[int, int]]:
    """For each (topic, partition) the first offset in the log and the one after the last.

    Asked by a client of its own: behind a consumer's fetch the question would wait until that is answered.

    Raises:
        UnavailableError: the broker does not answer.
        RefusedError: it refuses.
    """
    first, end = (_offsets(admin, places, spec, breaker) for spec in (_EARLIEST, _LATEST))
    return {place: (first[place], end[place]) for place in places}


def _offsets(
    admin: AdminClient, places: Sequence[tuple[str, int]], spec: OffsetSpec, breaker: CircuitBreaker | None
) -> dict[tuple[str, int], int]:
    asked = admin.list_offsets(
        {TopicPartition(*place): spec for place in places}, request_timeout=ANSWER_TIMEOUT_SECONDS
    )
    return {(place.topic, place.partition): _told(place, answer.result, breaker) for place, answer in asked.items()}


def _told(place: TopicPartition, ask: Callable[[], Any], breaker: CircuitBreaker | None) -> int:
    where = f"{place.topic}/{place.partition}"
    offset = int(asking_broker(ask, f"asking for the offsets of {where}", breaker).offset)
    if offset < 0:
        # An answer without error and without offset: a broker that comes up knows its partitions before their logs.
        raise UnavailableError(f"the broker knows no offset of {where} yet ({offset}); {_REMEDY}")
    return offset


def unavailable(error: KafkaException | KafkaError, doing: str) -> K2Error:
    """Our error for the client's: UnavailableError, RecordError or RefusedError, by the failure's class."""
    exception = error if isinstance(error, KafkaException) else KafkaException(error)
    return translated(exception, doing, _REMEDY)


def asking_broker(ask: Callable[[], Any], doing: str, breaker: CircuitBreaker | None = None) -> Any:
    """Run a client call, wrapping its errors; with a breaker it is a call through it.

    Raises:
        UnavailableError: the broker does not answer, or the breaker is open.
        RefusedError: it refuses.
    """
    try:
        with guarded(breaker, KafkaException):
            return ask()
    except KafkaException as error:
        raise unavailable(error, doing) from error


def client_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """What every client needs to reach the brokers."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        # Errors reach us through callbacks and results; the client's own lines would only repeat them.
        "log_level": _LOG_LEVEL_CRITICAL,
        "socket.keepalive.enable": True,
        "broker.address.family": "v4",
        "reconnect.backoff.max.ms": 2_000,
    }
