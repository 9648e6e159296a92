"""Opening, unpacking and damage of capture files."""

import gzip
import os
import zlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import CaptureError
from k2.feeds.capture_file import CaptureFile
from k2.feeds.line_file import LONGEST_LINE_BYTES, BadLine, BadLineError

# Lines of many lengths that compress badly, so that the packed file is read in several pieces.
RANDOM = Random(1)
LINES = [b"%d {%s}" % (10**18 + number, RANDOM.randbytes(number % 90).hex().encode()) for number in range(3_000)]
CONTENT = b"\n".join(LINES) + b"\n"
PACKED = gzip.compress(CONTENT, mtime=0)


@pytest.fixture(scope="module")
def damaged_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "capture.gz"


def read(path: Path) -> list[bytes]:
    return [line for block in CaptureFile(path).line_blocks() for line in block]


def read_up_to_error(path: Path) -> tuple[list[bytes], CaptureError | None]:
    lines: list[bytes] = []
    try:
        for block in CaptureFile(path).line_blocks():
            lines += block
    except CaptureError as error:
        return lines, error
    return lines, None


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_plain_and_gzip_hold_the_same_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path / "plain", CONTENT)) == LINES
    assert read(write(tmp_path / "packed", gzip.compress(CONTENT))) == LINES


def test_gzip_is_recognised_by_its_first_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    assert read(write(tmp_path / "plain.gz", CONTENT)) == LINES
    assert read(write(tmp_path / "packed.txt", gzip.compress(CONTENT))) == LINES


def test_a_last_line_without_line_end_is_a_line(tmp_path: Path) -> None:
    assert read(write(tmp_path / "plain", CONTENT[:-1])) == LINES
    assert read(write(tmp_path / "packed", gzip.compress(b"1 {}"))) == [b"1 {}"]


def test_several_gzip_members_and_zero_padding_are_one_capture(tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    members = gzip.compress(CONTENT[:half]) + gzip.compress(CONTENT[half:])
    assert read(write(tmp_path / "members", members)) == LINES
    assert read(write(tmp_path / "padded", members + b"\0" * 512)) == LINES


@settings(deadline=None, max_examples=150)
@given(cut=st.integers(0, len(PACKED) - 1))
def test_a_gzip_cut_anywhere_gives_a_prefix_of_its_lines_and_then_an_error(damaged_path: Path, cut: int) -> None:
    write(damaged_path, PACKED[:cut])
    lines, error = read_up_to_error(damaged_path)
    assert lines == LINES[: len(lines)]
    assert error is not None
    assert str(damaged_path) in str(error)
    assert f"line {len(lines) + 1}" in str(error)


def test_a_gzip_cut_in_its_trailer_gives_all_lines_and_then_an_error(tmp_path: Path) -> None:
    lines, error = read_up_to_error(write(tmp_path / "capture.gz", gzip.compress(CONTENT)[:-1]))
    assert lines == LINES
    assert error is not None
    assert "ends too early" in str(error)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_changed_byte_in_a_gzip_is_never_taken_for_content(damaged_path: Path, data: st.DataObject) -> None:
    packed = bytearray(PACKED)
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    write(damaged_path, bytes(packed))
    lines, error = read_up_to_error(damaged_path)
    # Time, flags and system in the header are outside the checksum; a change there may leave the content as it was.
    assert error is not None or lines == LINES


def test_all_lines_before_corrupt_data_are_given(tmp_path: Path) -> None:
    half = LINES[: len(LINES) // 2]
    compressor = zlib.compressobj(wbits=31)
    packed = compressor.compress(b"\n".join(half) + b"\n") + compressor.flush(zlib.Z_FULL_FLUSH)
    # 0xff opens a block of a type that does not exist.
    lines, error = read_up_to_error(write(tmp_path / "capture.gz", packed + b"\xff" * 50_000))
    assert lines == half
    assert error is not None
    assert f"line {len(half) + 1} is damaged: the gzip data is corrupt" in str(error)
    assert f"the {len(half)} lines before it were read" in str(error)


def test_a_wrong_checksum_is_an_error_after_all_lines(tmp_path: Path) -> None:
    lines, error = read_up_to_error(write(tmp_path / "capture.gz", gzip.compress(CONTENT)[:-8] + b"\0" * 8))
    assert lines == LINES
    assert error is not None
    assert "incorrect data check" in str(error)


def test_garbage_after_the_gzip_data_is_an_error_after_all_lines(tmp_path: Path) -> None:
    lines, error = read_up_to_error(write(tmp_path / "capture.gz", gzip.compress(CONTENT) + b"garbage"))
    assert lines == LINES
    assert error is not None
    assert "corrupt" in str(error)


NO_CAPTURES = {
    "empty": (b"", "is empty"),
    "empty gzip": (gzip.compress(b""), "is empty"),
    "empty lines": (b"\n\n", "line 1 is not"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\n", "line 1 is not"),
    "json lines": (b'{"stream":"btcusdt@trade"}\n', "line 1 is not"),
    "csv": (b"1723161253937085768,1,2\n", "line 1 is not"),
    "time alone": (b"1723161253937085768", "line 1 is not"),
    "csv in gzip": (gzip.compress(b"exchange,symbol\n"), "line 1 is not"),
    "endless line": (b"1 {" + b"x" * (LONGEST_LINE_BYTES + 1), "line 1 is longer"),
    "gzip that grows": (gzip.compress(b"1 {}\n2 {" + b"x" * (2 * LONGEST_LINE_BYTES)), "line 2 is longer"),
}


@pytest.mark.parametrize(("content", "reason"), NO_CAPTURES.values(), ids=NO_CAPTURES)
def test_a_file_that_is_no_capture_is_refused_with_line_and_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "file", content)
    with pytest.raises(CaptureError, match=reason) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: line ")
    assert "; " in message
    assert "\n" not in message


def test_a_missing_file_a_directory_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="missing: line 1: cannot be opened: No such file or directory; check"):
        read(tmp_path / "missing")
    with pytest.raises(CaptureError, match="line 1: is a directory; name"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CaptureError, match="line 1: is not a regular file; store"):
        read(tmp_path / "pipe")


def test_the_identity_is_that_of_the_content_however_it_is_packed(tmp_path: Path) -> None:
    packings = [CONTENT, gzip.compress(CONTENT, 1), gzip.compress(CONTENT, 9, mtime=7)]
    identities = {CaptureFile(write(tmp_path / "file", packing)).identity() for packing in packings}
    assert len(identities) == 1
    assert len(identities.pop()) == 12


def test_the_identity_changes_with_any_change_of_content(tmp_path: Path) -> None:
    other_line = CONTENT.replace(b"{", b"[", 1_000).replace(b"[", b"{", 999)
    variants = [CONTENT, CONTENT[:-1], CONTENT + LINES[0], CONTENT[:-200], other_line, b"2" + CONTENT[1:]]
    assert len(set(variants)) == len(variants)
    plain = {CaptureFile(write(tmp_path / "plain", variant)).identity() for variant in variants}
    packed = {CaptureFile(write(tmp_path / "packed", gzip.compress(variant))).identity() for variant in variants}
    assert plain == packed
    assert len(plain) == len(variants)


def test_a_damaged_capture_has_an_identity_too(tmp_path: Path) -> None:
    whole = gzip.compress(CONTENT)
    cut = CaptureFile(write(tmp_path / "cut", whole[: len(whole) // 2])).identity()
    assert cut != CaptureFile(write(tmp_path / "whole", whole)).identity()
    assert cut == CaptureFile(tmp_path / "cut").identity()


def test_a_bad_line_keeps_only_the_beginning_of_its_bytes() -> None:
    path = Path("capture")
    bad_line = BadLine.of(path, 7, BadLineError("bad_json", "why"), b"x" * 1_000)
    assert bad_line == BadLine(path, 7, "bad_json", "why", b"x" * 200)
