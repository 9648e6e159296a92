"""Dead letters in files, one JSON line each: where they go when the broker does not take them.

    {"record": {"topic", "partition", "offset", "key", "value", "headers": [[name, value], ...]},
     "error": {"stage", "class", "message"}, "timestamp": "2026-11-21T09:45:00.123456+00:00"}

Key, value and header values are Base64, or null. A file is called TOPIC-RUN-COUNTER.jsonl, is opened exclusively by the
process that made it and never opened for writing again, so no two writers can harm each other's lines. It is complete
but for its last line, which a crash may have cut off before it counted as kept.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any

from k2.clock import Clock
from k2.errors import DeliveryError, UnavailableError
from k2.ingestion.dead_letter_inventory import KeptLetter
from k2.ingestion.dead_letters import DeadLetter

BYTES_A_MB = 1024 * 1024
SUFFIX = ".jsonl"
_EPOCH = datetime.fromtimestamp(0, UTC)


class DeadLetterFiles:
    """Writes letters to files of its own, one at a time for each source topic.

    Args:
        directory: made when the first letter is written.
        max_size_mb: in units of 1,048,576 bytes; the line that would pass it begins a new file, and a longer line
            has a file of its own.
        run_id: makes the names of this process's files its own.
        clock: the time a letter says it was written.
    """

    def __init__(self, directory: Path, max_size_mb: float, run_id: str, clock: Clock) -> None:
        self._directory = directory
        self._max_bytes = int(max_size_mb * BYTES_A_MB)
        self._run_id = run_id
        self._clock = clock
        self._counter = 0
        self._open: dict[str, _LetterFile] = {}

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write letters and return when all are on disk.

        Raises:
            DeliveryError: at least one is not; what this call began in an open file is taken back.
        """
        written_at_ns = self._clock.wall_ns()
        try:
            for letter in letters:
                line = _line(letter, written_at_ns)
                self._file_for(letter.topic, len(line)).append(line)
            for file in self._open.values():
                file.sync()
        except OSError as error:
            for file in self._open.values():
                file.take_back()
            self._open.clear()
            raise DeliveryError(
                f"dead letters cannot be written to {self._directory}: {error.strerror}; make room or set "
                "dead_letters.directory"
            ) from error

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _file_for(self, topic: str, line_bytes: int) -> "_LetterFile":
        file = self._open.get(topic)
        if file is not None and file.size_bytes + line_bytes > self._max_bytes:
            file.sync()
            file.close()
            del self._open[topic]
            file = None
        if file is None:
            file = self._open[topic] = self._create(topic)
        return file

    def _create(self, topic: str) -> "_LetterFile":
        if not self._directory.exists():
            self._directory.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._directory.parent)
        while True:
            self._counter += 1
            path = self._directory / f"{topic}-{self._run_id}-{self._counter:06d}{SUFFIX}"
            try:
                file = _LetterFile(path)
            except FileExistsError:
                continue
            _sync_directory(self._directory)
            return file


class _LetterFile:
    """One file being written; unbuffered, so that what was written and what was synced are known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = FileIO(path, "xb")
        self._synced_bytes = 0
        self.size_bytes = 0

    def append(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.size_bytes += len(line)

    def sync(self) -> None:
        if self._synced_bytes < self.size_bytes:
            os.fsync(self._file.fileno())
            self._synced_bytes = self.size_bytes

    def take_back(self) -> None:
        # After a failed write nothing is sure; a reader leaves out a half line should this fail too.
        with suppress(OSError):
            self._file.truncate(self._synced_bytes)
        with suppress(OSError):
            self.close()
        if not self._synced_bytes:
            with suppress(OSError):
                self._path.unlink()

    def close(self) -> None:
        self._file.close()


def read_letter_files(directory: Path) -> tuple[list[KeptLetter], list[str]]:
    """All letters in the files of a directory, and one line for each thing in them that is no letter.

    Raises:
        UnavailableError: the directory or a file cannot be read.
    """
    letters: list[KeptLetter] = []
    unreadable: list[str] = []
    try:
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            for find in _read(path):
                if isinstance(find, KeptLetter):
                    letters.append(find)
                else:
                    unreadable.append(find)
    except OSError as error:
        raise UnavailableError(f"the dead letters in {directory} cannot be read: {error}") from error
    return letters, unreadable


def _read(path: Path) -> Iterator[KeptLetter | str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                yield f"{path} line {number}: cut off after {len(line)} bytes, it never counted as kept"
                return
            try:
                yield _kept_letter(json.loads(line), path)
            except (ValueError, KeyError, TypeError, binascii.Error):
                yield f"{path} line {number}: not a dead letter"


def _line(letter: DeadLetter, written_at_ns: int) -> bytes:
    entry = {
        "record": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "key": base64_text(letter.key),
            "value": base64_text(letter.value),
            "headers": [[name, base64_text(value)] for name, value in letter.headers],
        },
        "error": {"stage": letter.stage, "class": letter.error_class, "message": letter.short_message},
        "timestamp": timestamp(written_at_ns),
    }
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _kept_letter(entry: Mapping[str, Any], path: Path) -> KeptLetter:
    record, error = entry["record"], entry["error"]
    letter = DeadLetter(
        topic=str(record["topic"]),
        partition=int(record["partition"]),
        offset=int(record["offset"]),
        key=_bytes(record["key"]),
        value=_bytes(record["value"]),
        headers=tuple((str(name), _bytes(value)) for name, value in record["headers"]),
        stage=str(error["stage"]),
        error_class=str(error["class"]),
        message=str(error["message"]),
    )
    written_at = datetime.fromisoformat(entry["timestamp"])
    return KeptLetter(letter, (written_at - _EPOCH) // timedelta(microseconds=1) * 1_000, (f"file {path.name}",))


def timestamp(wall_ns: int) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=wall_ns // 1_000)).isoformat(timespec="microseconds")


def base64_text(value: bytes | None) -> str | None:
    """Base64, None for None."""
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
