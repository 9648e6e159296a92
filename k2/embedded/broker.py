"""An embedded Kafka broker: the mock cluster inside librdkafka, which speaks the real protocol on loopback.

It keeps about 5 MB a partition in memory and forgets the oldest beyond that, so whoever feeds it must not run ahead of
the consumer (see k2.feeds' credits). Good for trying, testing and breaking; not for keeping.

`python -m k2.embedded.broker --topic NAME ...` runs one until its standard input closes, so it cannot outlive the
process that started it, however that one ends. Each line it reads is a command, answered by a line:

    {"do": "create_topic", "topic": "a", "partitions": 4}    {"ok": true}

The commands are the public methods of EmbeddedBroker that are listed in COMMANDS: what an administrator of a real
cluster can do to a topic, and what a bad day can do to a broker.
"""

import argparse
import ctypes
import glob
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import confluent_kafka

from k2.errors import UnavailableError

PARTITIONS = 4
_JOIN_DELAY_MS = 100
_PRODUCER_TYPE = 0
_BROKER_ID = 1
_ERROR_LENGTH = 512


class EmbeddedBroker:
    """A mock cluster of one broker; a context manager.

    Raises:
        UnavailableError: the client library of this platform has no mock cluster we can reach.
    """

    def __init__(self, topics: tuple[str, ...], partitions: int = PARTITIONS) -> None:
        self._library = _load_library()
        error = ctypes.create_string_buffer(_ERROR_LENGTH)
        configuration = self._library.rd_kafka_conf_new()
        self._handle = self._library.rd_kafka_new(_PRODUCER_TYPE, configuration, error, _ERROR_LENGTH)
        if not self._handle:
            raise UnavailableError(f"the embedded broker does not start: {error.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            raise UnavailableError("the embedded broker does not start: no mock cluster")
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        # A lone consumer need not wait three seconds for others to join its group.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _JOIN_DELAY_MS)
        # Without one, clients that ask for topic ids wait for it until they give up.
        self._library.rd_kafka_mock_set_controller_id(self._cluster, _BROKER_ID)
        for topic in topics:
            self.create_topic(topic, partitions)

    def create_topic(self, topic: str, partitions: int = PARTITIONS) -> None:
        """Create a topic; one of the same name that was deleted before gets another topic id."""
        code = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
        _require(code, f"does not create topic {topic}")

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with all that is in it."""
        _require(self._library.rd_kafka_mock_topic_delete(self._cluster, topic.encode()), f"does not delete {topic}")

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Forget all messages of a partition before an offset, as retention does."""
        code = self._library.rd_kafka_mock_partition_delete_records(
            self._cluster, topic.encode(), partition, before_offset
        )
        _require(code, f"does not delete records of {topic}/{partition}")

    def fail_requests(self, api_key: int, error_codes: Sequence[int]) -> None:
        """Answer the next requests of one kind (Kafka's ApiKey; 0 is Produce) with these error codes, one each.

        The requests are not carried out. -195 closes the connection instead of answering.
        """
        codes = (ctypes.c_int * len(error_codes))(*error_codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(error_codes), codes)

    def answer_late(self, milliseconds: int) -> None:
        """Delay every answer from now on; 0 for none."""
        _require(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER_ID, milliseconds), "does not wait")

    def go_down(self) -> None:
        """Close all connections and accept none, until `come_up`; nothing is forgotten."""
        _require(self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER_ID), "does not go down")

    def come_up(self) -> None:
        """Accept connections again."""
        _require(self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER_ID), "does not come up")

    def close(self) -> None:
        """Stop the broker; everything in it is gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


COMMANDS = (*("create_topic", "delete_topic", "delete_records", "fail_requests", "answer_late", "go_down", "come_up"),)


def _require(code: int, what: str) -> None:
    if code:
        raise UnavailableError(f"the embedded broker {what}: error {code}")


def _load_library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    patterns = (f"{package.parent}/confluent_kafka.libs/librdkafka*", f"{package}/.dylibs/librdkafka*.dylib")
    found = [path for pattern in patterns for path in glob.glob(pattern)]
    if not found:
        raise UnavailableError("the embedded broker needs the confluent-kafka wheel, which brings librdkafka along")
    library = ctypes.CDLL(found[0])
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_set_controller_id": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_topic_delete": (number, [pointer, text]),
        "rd_kafka_mock_partition_delete_records": (number, [pointer, text, ctypes.c_int32, ctypes.c_int64]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)],
        ),
        "rd_kafka_mock_broker_set_rtt": (number, [pointer, ctypes.c_int32, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main() -> None:
    """Run a broker, print its address as one JSON line, stop when standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m k2.embedded.broker", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--topic", action="append", default=[], help="topic to create; may be given again")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    arguments = parser.parse_args()
    with EmbeddedBroker(tuple(arguments.topic), arguments.partitions) as broker:
        print(json.dumps({"bootstrap_servers": broker.bootstrap_servers}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_obey(broker, line)), flush=True)


def _obey(broker: EmbeddedBroker, line: str) -> dict[str, object]:
    try:
        command = json.loads(line)
        name = command.pop("do")
        if name not in COMMANDS:
            raise ValueError(f"{name!r} is no command: choose {', '.join(COMMANDS)}")
        getattr(broker, name)(**command)
    except (UnavailableError, ValueError, TypeError, KeyError, AttributeError) as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True}


if __name__ == "__main__":
    main()
