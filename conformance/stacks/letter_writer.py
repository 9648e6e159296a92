"""A writer of dead letter files that never ends by itself, and leaves evidence of what counted as kept and as synced.

It uses the platform's own DeadLetterFiles, under a run id that others share, so that only exclusive opening keeps them
apart. Its letters are those of the partition of its number. A line of evidence is written after the fact it states, so
a kill can only take evidence away, never add any:

    {"begun": [[offset, sha256], ...]}              these letters are about to be written
    {"kept": [offset, ...]}                         `write` has returned for them
    {"synced": file, "bytes": 4096}                 so much of a file was synced
    {"directory": path, "listed": [file, ...]}      the directory was synced when this process had these open in it
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from conformance.drivers.poisoning import digest
from k2.clock import SystemClock
from k2.ingestion.dead_letter_files import DeadLetterFiles
from k2.ingestion.dead_letters import DeadLetter

LARGEST_BATCH = 8
LONGEST_VALUE_BYTES = 300
LONG_VALUE_BYTES = 6_000
MOST_LETTERS = 50_000
_LONG_SHARE, _TOMBSTONE_SHARE = 0.02, 0.05

TOPIC = "market.crypto.trades"

Record = Callable[[dict[str, object]], None]


def recorder(evidence: Path) -> Record:
    """Appends lines, each in one piece."""
    descriptor = os.open(evidence, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def record(entry: dict[str, object]) -> None:
        os.write(descriptor, json.dumps(entry).encode() + b"\n")

    return record


def record_syncs(record: Record) -> None:
    """From now on leave evidence of every fsync of this process."""
    carry_out = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced: dict[str, object] = (
            {"directory": str(path), "listed": open_files(path)}
            if path.is_dir()
            else {"synced": path.name, "bytes": os.fstat(descriptor).st_size}
        )
        carry_out(descriptor)
        record(synced)

    os.fsync = fsync  # type: ignore[assignment]


def open_files(directory: Path) -> list[str]:
    """Names of this process's open files in a directory: whoever makes a file has its name synced while it is open."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        # The listing's own is gone by now.
        with suppress(FileNotFoundError):
            links.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
    return sorted(link.name for link in links if link.parent == directory)


def letter(writer: int, offset: int, generator: random.Random) -> DeadLetter:
    """A letter of any bytes: mostly short, some longer than a file may be, some without a value."""
    length = LONG_VALUE_BYTES if generator.random() < _LONG_SHARE else generator.randrange(LONGEST_VALUE_BYTES)
    value = None if generator.random() < _TOMBSTONE_SHARE else generator.randbytes(length)
    headers = (("trace", b"message %d" % offset), ("nothing", None))
    return DeadLetter(TOPIC, writer, offset, b"BINANCE:BTCUSDT", value, headers, "decode", "truncated", "cut off\nhere")


def write_without_end(files: DeadLetterFiles, writer: int, record: Record) -> None:
    """Write batch after batch, and wait to be killed."""
    generator = random.Random(writer)
    offset = 0
    while offset < MOST_LETTERS:
        letters = [letter(writer, offset + place, generator) for place in range(generator.randint(1, LARGEST_BATCH))]
        record({"begun": [[one.offset, digest(one.value)] for one in letters]})
        files.write(letters)
        record({"kept": [one.offset for one in letters]})
        offset += len(letters)
    while True:
        time.sleep(1)


def main() -> None:
    """Write until killed."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.letter_writer")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--writer", type=int, required=True)
    parser.add_argument("--max-size-mb", type=float, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    arguments = parser.parse_args()
    record = recorder(arguments.evidence)
    record_syncs(record)
    files = DeadLetterFiles(arguments.directory, arguments.max_size_mb, arguments.run_id, SystemClock())
    write_without_end(files, arguments.writer, record)


if __name__ == "__main__":
    main()
