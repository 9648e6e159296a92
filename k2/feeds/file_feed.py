"""A file as a feed: each line becomes a record, is counted by what it is, or is reported as bad."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from k2.feeds.feed import FeedRecord, FileStatistics
from k2.feeds.line_file import BadLine, BadLineError, LineFile

OnBadLine = Callable[[BadLine], object]


class LineReader(Protocol):
    """Reads the lines of one iteration, from the first."""

    def read(self, line: bytes) -> FeedRecord | None:
        """The record of a line; None for a line that holds none and that the reader has counted.

        Raises:
            BadLineError: it cannot be read.
        """


class LineCounts:
    """Lines of one iteration so far."""

    __slots__ = ("bad", "lines", "records")

    def __init__(self) -> None:
        self.lines = 0
        self.bad: Counter[str] = Counter()
        self.records: Counter[str] = Counter()


class FileFeed(ABC):
    """The frame of every feed from a file."""

    def __init__(self, file: LineFile, on_bad_line: OnBadLine) -> None:
        """Nothing is opened yet.

        Args:
            file: the lines.
            on_bad_line: told of every line that could not be read.
        """
        self._file = file
        self._on_bad_line = on_bad_line
        self._counts = LineCounts()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    @abstractmethod
    def session(self) -> str:
        """The session of all records of this file; CaptureError if the file cannot be read."""

    @property
    @abstractmethod
    def statistics(self) -> FileStatistics:
        """Counts of the iteration in progress, or of the last one."""

    def check(self) -> None:
        """Read the beginning, so that a wrong file is told before anything is sent.

        Raises:
            CaptureError: it is not what it should be.
        """
        self._new_reader()

    @abstractmethod
    def _new_reader(self) -> LineReader:
        """A reader for one iteration; CaptureError if the file's beginning is not what it should be."""

    def __iter__(self) -> Iterator[FeedRecord]:
        """Records in file order.

        Raises:
            CaptureError: the file cannot be opened, is not what it should be or is damaged; all readable records come
                first.
        """
        counts = self._counts = LineCounts()
        reader = self._new_reader()
        for lines in self._file.line_blocks():
            for line in lines:
                counts.lines += 1
                try:
                    record = reader.read(line)
                except BadLineError as error:
                    counts.bad[error.name] += 1
                    self._on_bad_line(BadLine.of(self.path, counts.lines, error, line))
                    continue
                if record is not None:
                    counts.records[record.data_type] += 1
                    yield record
