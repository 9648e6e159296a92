"""Dead letters for the tests, and queues and files to put them in."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from k2.clock import SystemClock
from k2.ingestion.dead_letter_files import BYTES_A_MB, DeadLetterFiles, read_letter_files
from k2.ingestion.dead_letters import DeadLetter, DeadLetterQueue
from tests.ingestion.market_records import CRYPTO_TRADES
from tests.ingestion.stage import kafka_settings

NOW_NS = 1_763_000_000_000_000_000
LETTER = DeadLetter(
    topic=CRYPTO_TRADES,
    partition=1,
    offset=77,
    key=b"BINANCE:BTCUSDT",
    value=b"\x00\xff\x00junk",
    headers=(("traceparent", b"00-abc"), ("traceparent", b"00-def"), ("empty", None)),
    stage="decode",
    error_class="truncated",
    message="price at byte 12 of the body: it ends beyond the end of the message",
)


class FixedClock(SystemClock):
    """A clock that stands still."""

    def wall_ns(self) -> int:
        return NOW_NS


def letters(*offsets: int, **changes: Any) -> list[DeadLetter]:
    """One letter for each offset, each with bytes of its own."""
    return [replace(LETTER, offset=offset, **{"value": b"junk %d" % offset, **changes}) for offset in offsets]


def letter_files(directory: Path, max_bytes: int = BYTES_A_MB, run_id: str = "run") -> DeadLetterFiles:
    """Files that no line makes longer than so many bytes."""
    return DeadLetterFiles(directory, max_bytes / BYTES_A_MB, run_id, FixedClock())


def keep(directory: Path, *some: DeadLetter, max_bytes: int = BYTES_A_MB) -> None:
    """Write letters as one process would that then ends."""
    with closing(letter_files(directory, max_bytes)) as files:
        files.write(some)


def kept(directory: Path) -> list[DeadLetter]:
    """The letters in a directory, in which nothing else is."""
    found, unreadable = read_letter_files(directory)
    assert unreadable == []
    return [one.letter for one in found]


def send(bootstrap_servers: str, *some: DeadLetter) -> None:
    """Put letters into their topic."""
    queue = DeadLetterQueue(kafka_settings(bootstrap_servers), FixedClock())
    queue.send(some)
    queue.close()
