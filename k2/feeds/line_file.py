"""A file of lines under a feed: plain, gzip or zip, one message or row a line, streamed.

Everything readable is handed out before an error is raised, so a damaged file loses only what is damaged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from k2.errors import CaptureError
from k2.feeds.packed_file import UnreadableError, archived_name, checksum, unpacked

LONGEST_LINE_BYTES = 4 * 1024 * 1024
_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be read while the lines around it could.

    Attributes:
        path: the file.
        line_number: from 1.
        name: stable name of what is wrong, such as "bad_json"; docs/feeds.md lists them.
        reason: what is wrong with it, one sentence.
        raw: its beginning, at most 200 bytes.
    """

    path: Path
    line_number: int
    name: str
    reason: str
    raw: bytes

    @classmethod
    def of(cls, path: Path, line_number: int, error: "BadLineError", line: bytes) -> "BadLine":
        """A bad line, its bytes shortened."""
        return cls(path, line_number, error.name, str(error), line[:_SHOWN_BYTES])


class BadLineError(ValueError):
    """A line cannot be read; `name` says what is wrong to machines, the text to people."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class LineFile:
    """The lines of one file. How it is packed is recognised by its first bytes, whatever the file is called."""

    def __init__(self, path: Path, noun: str, unfit: Callable[[bytes], str | None]) -> None:
        """Nothing is opened yet.

        Args:
            path: the file.
            noun: what it should be, for messages: "capture".
            unfit: what is wrong with the first line, to follow "line 1"; None if it fits.
        """
        self.path = path
        self._noun = noun
        self._unfit = unfit

    def identity(self) -> str:
        """Twelve hex digits that stand for the content.

        SHA-256 of the first line, the CRC-32 and the length of the unpacked content. The same content has the same
        identity plain, packed or packed again; any difference in content gives another identity.

        Raises:
            CaptureError: no line can be read.
        """
        first_line = self.first_line()
        with self._open() as file:
            return sha256(first_line + b"\n" + checksum(file)).hexdigest()[:12]

    def first_line(self) -> bytes:
        """The first line, which fits.

        Raises:
            CaptureError: it cannot be read, or does not.
        """
        return next(self.line_blocks())[0]

    def archived_name(self) -> str | None:
        """The name that a zip archive gives to its content; None for what is no zip.

        Raises:
            CaptureError: the file cannot be opened.
        """
        with self._open() as file:
            return archived_name(file)

    def line_blocks(self) -> Iterator[list[bytes]]:
        """The lines in file order, without line ends, in blocks that are never empty.

        Raises:
            CaptureError: the file cannot be opened, is empty, is not what it should be or is damaged. The error comes
                after all lines that end before the damage.
        """
        line_number = 1
        unfinished = b""
        with self._open() as file:
            try:
                for piece in unpacked(file):
                    *lines, unfinished = (unfinished + piece).split(b"\n")
                    if lines:
                        self._check_beginning(line_number, lines[0])
                        line_number += len(lines)
                        yield lines
                    if len(unfinished) > LONGEST_LINE_BYTES:
                        reason = f"is longer than {LONGEST_LINE_BYTES} bytes"
                        raise self.error(line_number, reason, f"is it a {self._noun}?")
            except UnreadableError as damage:
                remedy = f"the {line_number - 1} lines before it were read, fetch the file again for the rest"
                raise self.error(line_number, str(damage), remedy) from damage
            except OSError as error:
                raise self.error(line_number, f"cannot be read: {error.strerror}", "check the disk") from error
        if unfinished:
            self._check_beginning(line_number, unfinished)
            yield [unfinished]
        elif line_number == 1:
            raise CaptureError(f"{self.path}: line 1: the {self._noun} is empty; fetch it again or leave it out")

    def error(self, line_number: int, reason: str, remedy: str) -> CaptureError:
        """An error that names the file and a line of it."""
        return CaptureError(f"{self.path}: line {line_number} {reason}; {remedy}")

    def _open(self) -> BinaryIO:
        if self.path.is_dir():
            raise CaptureError(f"{self.path}: line 1: is a directory; name one {self._noun} in it")
        if self.path.exists() and not self.path.is_file():
            raise CaptureError(f"{self.path}: line 1: is not a regular file; store the {self._noun} in one first")
        try:
            return self.path.open("rb")
        except OSError as error:
            raise CaptureError(f"{self.path}: line 1: cannot be opened: {error.strerror}; check the path") from error

    def _check_beginning(self, line_number: int, line: bytes) -> None:
        if line_number == 1 and (reason := self._unfit(line)) is not None:
            raise self.error(1, reason, f"this file is not a {self._noun}, name another one")
