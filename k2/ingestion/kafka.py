"""Configuration of the Kafka clients: every property that is not the client's default, and why."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from k2.errors import K2Error, UnavailableError
from k2.settings import KafkaSettings

ANSWER_TIMEOUT_SECONDS = 10.0
_LOG_LEVEL_CRITICAL = 2


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
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": settings.heartbeat_interval_ms,
        "max.poll.interval.ms": settings.max_poll_interval_ms,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.partition.eof": False,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 100_000,
        "fetch.message.max.bytes": 10_000_000,
        "topic.metadata.refresh.interval.ms": 30_000,
    }


def check_broker(settings: KafkaSettings) -> None:
    """Ask for the cluster once, so that a wrong address is one clear error at the start, not a silent wait.

    Raises:
        UnavailableError: no broker answers within ten seconds.
    """
    client = Producer(client_configuration(settings))
    asking_broker(
        lambda: client.list_topics(timeout=ANSWER_TIMEOUT_SECONDS), f"no answer from {settings.bootstrap_servers}"
    )


def unavailable(error: KafkaException | KafkaError, doing: str) -> UnavailableError:
    """Wrap a client error: what was being done, and what the broker said."""
    kafka_error = error.args[0] if isinstance(error, KafkaException) else error
    text = kafka_error.str() if isinstance(kafka_error, KafkaError) else str(kafka_error)
    return UnavailableError(f"{doing}: {text}; check that the broker runs and kafka.bootstrap_servers names it")


def asking_broker(ask: Callable[[], Any], doing: str) -> Any:
    """Run a client call, wrapping its errors.

    Raises:
        UnavailableError: the broker does not answer or refuses.
    """
    try:
        return ask()
    except K2Error:
        raise
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
