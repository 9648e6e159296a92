"""An embedded Kafka broker: the mock cluster inside librdkafka, which speaks the real protocol on loopback.

It keeps about 5 MB a partition in memory and forgets the oldest beyond that, so whoever feeds it must not run ahead of
the consumer (see k2.feeds' credits). Good for trying, testing and breaking; not for keeping.

`python -m k2.embedded.broker --topic NAME ...` runs one until its standard input closes, so it cannot outlive the
process that started it, however that one ends.
"""

import argparse
import ctypes
import glob
import json
import sys
from pathlib import Path
from types import TracebackType

import confluent_kafka

from k2.errors import UnavailableError

PARTITIONS = 4
_JOIN_DELAY_MS = 100
_PRODUCER_TYPE = 0
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
        for topic in topics:
            code = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
            if code:
                raise UnavailableError(f"the embedded broker does not create topic {topic}: error {code}")

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
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
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
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
