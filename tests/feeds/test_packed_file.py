"""Zip archives as a feed's file: unpacked from the front, whole or damaged. Gzip is tested with the captures."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.feeds.packed_file import UnreadableError, archived_name, checksum, unpacked

RANDOM = Random(2)
CONTENT = b"".join(b"%d,%b\n" % (number, RANDOM.randbytes(number % 70).hex().encode()) for number in range(3_000))


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def streamed_zip() -> bytes:
    """As a program writes it that cannot go back: sizes and checksum follow the content."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.written = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, piece: bytes) -> int:  # type: ignore[override]
            self.written += piece
            return len(piece)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ticks.csv", CONTENT)
    return bytes(stream.written)


PACKED = zipped(("ticks.csv", CONTENT))


def read(packed: bytes) -> tuple[bytes, str]:
    """The content up to the error, and the error."""
    content = b""
    try:
        for piece in unpacked(io.BytesIO(packed)):
            content += piece
    except UnreadableError as error:
        return content, str(error)
    return content, ""


@pytest.mark.parametrize(
    "packed",
    [PACKED, zipped(("a/b.csv", CONTENT), method=zipfile.ZIP_STORED), streamed_zip(), CONTENT],
    ids=["deflated", "stored", "streamed", "plain"],
)
def test_the_content_is_read_however_it_is_packed(packed: bytes) -> None:
    assert read(packed) == (CONTENT, "")
    assert checksum(io.BytesIO(packed)) == struct.pack("<II", zlib.crc32(CONTENT), len(CONTENT))


def test_the_name_inside_a_zip_is_known_and_others_have_none() -> None:
    assert archived_name(io.BytesIO(PACKED)) == "ticks.csv"
    assert archived_name(io.BytesIO(PACKED[:20])) is None
    assert archived_name(io.BytesIO(CONTENT)) is None


@settings(deadline=None, max_examples=150)
@given(cut=st.integers(5, len(PACKED) - 100))
def test_a_zip_cut_anywhere_gives_a_prefix_of_its_content_and_then_an_error(cut: int) -> None:
    content, error = read(PACKED[:cut])
    assert CONTENT.startswith(content)
    assert error == "is damaged: the zip ends too early"


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_changed_byte_of_the_content_is_never_taken_for_content(data: st.DataObject) -> None:
    header_bytes = 30 + len("ticks.csv")
    packed = bytearray(PACKED)
    position = data.draw(st.integers(header_bytes, len(PACKED) - 150))
    packed[position] ^= data.draw(st.integers(1, 255))
    _, error = read(bytes(packed))
    assert "damaged" in error


def encrypted() -> bytes:
    packed = bytearray(PACKED)
    packed[6] |= 1
    return bytes(packed)


def other_method() -> bytes:
    packed = bytearray(PACKED)
    packed[8] = 14
    return bytes(packed)


@pytest.mark.parametrize(
    ("packed", "content", "reason"),
    [
        (zipped(("a", CONTENT), ("b", b"more")), CONTENT, "there are more"),
        (zipped(), b"", "the zip holds no file"),
        (encrypted(), b"", "the zip is encrypted"),
        (other_method(), b"", "packed by method 14"),
        (PACKED[:3] + b"\4" + b"x" * 10, b"", "ends too early"),
    ],
    ids=["several files", "none", "encrypted", "other method", "header alone"],
)
def test_a_zip_that_is_no_zip_of_one_file_says_so(packed: bytes, content: bytes, reason: str) -> None:
    found, error = read(packed)
    assert found == content
    assert reason in error


def test_a_damaged_zip_still_has_a_checksum_of_its_own(tmp_path: Path) -> None:
    cut, shorter = (checksum(io.BytesIO(PACKED[:-size])) for size in (50, 60))
    assert len({cut, shorter, checksum(io.BytesIO(PACKED))}) == 3
