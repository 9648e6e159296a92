"""The file under a capture: plain or gzip, one message a line, `<receive time> {json}`.

Everything readable is handed out before an error is raised, so a damaged capture loses only what is damaged.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from k2.errors import CaptureError

LONGEST_LINE_BYTES = 4 * 1024 * 1024

_READ_BYTES = 32 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_TRAILER_BYTES = 8
_GZIP_WINDOW_BITS = 31
_LOOKS_LIKE_A_CAPTURE = re.compile(rb"[0-9]+ +\{").match
_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be read while the lines around it could.

    Attributes:
        line_number: from 1.
        reason: what is wrong with it, one sentence.
        raw: its beginning, at most 200 bytes.
    """

    line_number: int
    reason: str
    raw: bytes

    @classmethod
    def of(cls, line_number: int, reason: str, line: bytes) -> "BadLine":
        """A bad line, its bytes shortened."""
        return cls(line_number, reason, line[:_SHOWN_BYTES])


class _DamagedError(Exception):
    """The compressed data stops making sense; the message says how."""


class CaptureFile:
    """The lines of one capture. Gzip is recognised by its first bytes, whatever the file is called."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def identity(self) -> str:
        """Twelve hex digits that stand for the content.

        SHA-256 of the first line, the CRC-32 and the length of the uncompressed content. Gzip keeps the last two in its
        trailer, so a large file is not read twice, and the same content has the same identity plain, compressed or
        compressed again. Any difference in content gives another identity; so does a file of several gzip members,
        whose trailer speaks of the last member alone.

        Raises:
            CaptureError: no line can be read.
        """
        first_line = next(self.line_blocks())[0]
        with self._open() as file:
            checksum = _gzip_trailer(file) if _is_gzip(file) else _plain_trailer(file)
        return sha256(first_line + b"\n" + checksum).hexdigest()[:12]

    def line_blocks(self) -> Iterator[list[bytes]]:
        """The lines in file order, without line ends, in blocks that are never empty.

        Raises:
            CaptureError: the file cannot be opened, is empty, is no capture or is damaged. The error comes after all
                lines that end before the damage.
        """
        line_number = 1
        unfinished = b""
        with self._open() as file:
            pieces = _inflate(file) if _is_gzip(file) else _read(file)
            try:
                for piece in pieces:
                    *lines, unfinished = (unfinished + piece).split(b"\n")
                    if lines:
                        self._check_beginning(line_number, lines[0])
                        line_number += len(lines)
                        yield lines
                    if len(unfinished) > LONGEST_LINE_BYTES:
                        raise self._error(line_number, f"is longer than {LONGEST_LINE_BYTES} bytes", "is it a capture?")
            except _DamagedError as damage:
                remedy = f"the {line_number - 1} lines before it were read, fetch the file again for the rest"
                raise self._error(line_number, f"is damaged: {damage}", remedy) from damage
            except OSError as error:
                raise self._error(line_number, f"cannot be read: {error.strerror}", "check the disk") from error
        if unfinished:
            self._check_beginning(line_number, unfinished)
            yield [unfinished]
        elif line_number == 1:
            raise CaptureError(f"{self._path}: line 1: the capture is empty; record it again or leave it out")

    def _open(self) -> BinaryIO:
        if self._path.is_dir():
            raise CaptureError(f"{self._path}: line 1: is a directory; name one capture file in it")
        if self._path.exists() and not self._path.is_file():
            raise CaptureError(f"{self._path}: line 1: is not a regular file; store the capture in one first")
        try:
            return self._path.open("rb")
        except OSError as error:
            raise CaptureError(f"{self._path}: line 1: cannot be opened: {error.strerror}; check the path") from error

    def _check_beginning(self, line_number: int, line: bytes) -> None:
        if line_number == 1 and not _LOOKS_LIKE_A_CAPTURE(line):
            reason = f"is not `<receive time> {{json}}` but {line[:40]!r}"
            raise self._error(1, reason, "this file is not a capture, name another one")

    def _error(self, line_number: int, reason: str, remedy: str) -> CaptureError:
        return CaptureError(f"{self._path}: line {line_number} {reason}; {remedy}")


def _is_gzip(file: BinaryIO) -> bool:
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    return magic == _GZIP_MAGIC


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_READ_BYTES):
        yield piece


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
    for piece in _read(file):
        compressed = piece
        while compressed:
            if decompressor.eof:
                # Zeros after the end are padding, as gzip itself reads them; anything else must be another member.
                compressed = compressed.lstrip(b"\0")
                if not compressed:
                    break
                decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
            before = decompressor.copy()
            try:
                data = decompressor.decompress(compressed)
            except zlib.error:
                yield from _inflate_up_to_damage(before, compressed)
                return
            yield data
            compressed = decompressor.unused_data
    if not decompressor.eof:
        raise _DamagedError("the gzip data ends too early")


def _inflate_up_to_damage(decompressor: "zlib._Decompress", compressed: bytes) -> Iterator[bytes]:
    # zlib keeps nothing of a call that fails, so the piece is fed again byte by byte up to the bad one.
    for position in range(len(compressed)):
        try:
            yield decompressor.decompress(compressed[position : position + 1])
        except zlib.error as error:
            raise _DamagedError(f"the gzip data is corrupt ({error})") from error


def _gzip_trailer(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - _GZIP_TRAILER_BYTES))
    return file.read()


def _plain_trailer(file: BinaryIO) -> bytes:
    checksum = 0
    size = 0
    for piece in _read(file):
        checksum = zlib.crc32(piece, checksum)
        size += len(piece)
    return struct.pack("<II", checksum, size % 2**32)
