"""Dead letters in files: every line whole, every file one writer's, and what a crash leaves behind."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from k2.errors import DeliveryError
from k2.ingestion.dead_letter_files import read_letter_files
from k2.ingestion.dead_letters import DeadLetter
from tests.ingestion.dead_letter_samples import LETTER, NOW_NS, keep, kept, letter_files, letters

PREAMBLE = """
import sys
from pathlib import Path
from k2.clock import SystemClock
from k2.errors import DeliveryError
from k2.ingestion.dead_letter_files import DeadLetterFiles
from k2.ingestion.dead_letters import DeadLetter
def letter(offset, value=b"junk"):
    return DeadLetter("market.crypto.trades", 0, offset, None, value, (), "decode", "truncated", "cut off")
files = DeadLetterFiles(Path(sys.argv[1]), 0.02, "run", SystemClock())
"""
ENDLESS_WRITER = f"""{PREAMBLE}
for first in range(0, 1_000_000, 10):
    files.write([letter(offset) for offset in range(first, first + 10)])
    print(first + 10, flush=True)
"""
LIMITED_WRITER = f"""{PREAMBLE}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
files.write([letter(1)])
for _ in range(2):
    try:
        files.write([letter(2), letter(3, bytes(5_000))])
    except DeliveryError as error:
        print(error)
files.write([letter(4)])
"""


def sizes(directory: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(directory.iterdir())]


def test_a_line_holds_record_error_and_time(tmp_path: Path) -> None:
    keep(tmp_path, LETTER)
    (path,) = tmp_path.iterdir()
    assert path.name == f"{LETTER.topic}-run-000001.jsonl"
    assert json.loads(path.read_text()) == {
        "record": {
            "topic": "market.crypto.trades",
            "partition": 1,
            "offset": 77,
            "key": "QklOQU5DRTpCVENVU0RU",
            "value": "AP8AanVuaw==",
            "headers": [["traceparent", "MDAtYWJj"], ["traceparent", "MDAtZGVm"], ["empty", None]],
        },
        "error": {"stage": "decode", "class": "truncated", "message": LETTER.message},
        "timestamp": "2025-11-13T02:13:20.000000+00:00",
    }


@pytest.mark.parametrize(
    "letter",
    [
        LETTER,
        replace(LETTER, key=None, value=None, headers=()),
        replace(LETTER, value=b"", headers=(("name with\nline", b"\n"),)),
        replace(LETTER, message="two\nlines \u2028 and \U0001f600"),
    ],
)
def test_a_letter_is_read_back_as_it_was_written(tmp_path: Path, letter: DeadLetter) -> None:
    keep(tmp_path, letter)
    (found,), unreadable = read_letter_files(tmp_path)
    assert unreadable == []
    assert (found.letter, found.written_at_ns) == (letter, NOW_NS)
    assert found.kept_in == (f"file {LETTER.topic}-run-000001.jsonl",)


def test_letters_of_one_process_share_a_file_for_each_topic(tmp_path: Path) -> None:
    with closing(letter_files(tmp_path)) as files:
        files.write(letters(1, 2))
        files.write([*letters(3), *letters(4, topic="market.equities.trades")])
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "market.crypto.trades-run-000001.jsonl",
        "market.equities.trades-run-000002.jsonl",
    ]
    assert [letter.offset for letter in kept(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize(("spare_bytes", "expected_lines"), [(0, [3, 1]), (-1, [2, 2])])
def test_a_file_ends_before_the_line_that_would_pass_its_size(
    tmp_path: Path, spare_bytes: int, expected_lines: list[int]
) -> None:
    keep(tmp_path / "one", *letters(1))
    (line_bytes,) = sizes(tmp_path / "one")
    with closing(letter_files(tmp_path / "all", max_bytes=3 * line_bytes + spare_bytes)) as files:
        files.write(letters(1, 2))
        files.write(letters(3, 4))
    assert sizes(tmp_path / "all") == [number * line_bytes for number in expected_lines]
    assert kept(tmp_path / "all") == letters(1, 2, 3, 4)


def test_a_line_larger_than_a_file_may_be_has_one_of_its_own(tmp_path: Path) -> None:
    large = letters(2, value=bytes(5_000))
    keep(tmp_path, *letters(1), *large, *letters(3), max_bytes=1_000)
    assert [size > 1_000 for size in sizes(tmp_path)] == [False, True, False]
    assert kept(tmp_path) == [*letters(1), *large, *letters(3)]


def test_two_writers_of_the_same_name_never_share_a_file(tmp_path: Path) -> None:
    def write(first: int) -> None:
        with closing(letter_files(tmp_path, max_bytes=2_000)) as files:
            for offset in range(first, first + 100):
                files.write(letters(offset))

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, (0, 100)))
    assert sorted(letter.offset for letter in kept(tmp_path)) == list(range(200))
    for path in tmp_path.iterdir():
        writers = {json.loads(line)["record"]["offset"] // 100 for line in path.read_text().splitlines()}
        assert len(writers) == 1


def test_an_earlier_file_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    earlier = tmp_path / f"{LETTER.topic}-run-000001.jsonl"
    earlier.write_text("mine\n")
    keep(tmp_path, LETTER)
    assert earlier.read_text() == "mine\n"
    found, unreadable = read_letter_files(tmp_path)
    assert [one.letter for one in found] == [LETTER]
    assert unreadable == [f"{earlier} line 1: not a dead letter"]


def test_a_writer_killed_at_any_moment_leaves_every_letter_it_had_kept(tmp_path: Path) -> None:
    for round_number in range(2):
        directory = tmp_path / str(round_number)
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(20 + round_number):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().splitlines()]
        process.stdout.close()
        assert process.wait(10) == -signal.SIGKILL
        counted = max(reported, default=10 * (20 + round_number))
        found, unreadable = read_letter_files(directory)
        offsets = [one.letter.offset for one in found]
        assert offsets == list(range(len(offsets)))
        assert len(offsets) >= counted
        assert len(unreadable) <= 1
        assert len(list(directory.iterdir())) > 1


def test_the_half_line_of_a_crash_is_told_and_is_no_letter(tmp_path: Path) -> None:
    keep(tmp_path, *letters(1, 2, 3))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    line_bytes = len(whole) // 3
    for cut in (1, 2, line_bytes // 2, line_bytes - 1):
        path.write_bytes(whole[:-cut])
        found, unreadable = read_letter_files(tmp_path)
        assert [one.letter for one in found] == letters(1, 2)
        left = line_bytes - cut
        assert unreadable == [f"{path} line 3: cut off after {left} bytes, it never counted as kept"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff\xfe",
        b'{"record": null, "error": {}}',
        LETTER.topic.encode(),
    ],
)
def test_a_damaged_line_is_told_and_harms_no_other(tmp_path: Path, damage: bytes) -> None:
    keep(tmp_path, *letters(1, 2))
    (path,) = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, damage, second, b""]))
    found, unreadable = read_letter_files(tmp_path)
    assert [one.letter for one in found] == letters(1, 2)
    assert unreadable == [f"{path} line 2: not a dead letter"]


def test_a_letter_with_damaged_base64_is_not_taken_for_one(tmp_path: Path) -> None:
    keep(tmp_path, LETTER)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("AP8AanVuaw==", "AP8A*nVuaw=="))
    assert read_letter_files(tmp_path) == ([], [f"{path} line 1: not a dead letter"])


def test_a_write_that_fails_is_an_error_leaves_no_half_line_and_the_next_one_works(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITER, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    says = f"dead letters cannot be written to {tmp_path}: File too large; make room or set dead_letters.directory"
    assert answer.stdout.splitlines() == [says, says]
    assert [letter.offset for letter in kept(tmp_path)] == [1, 4]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_directory_that_cannot_be_made_is_a_delivery_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeliveryError, match=r"cannot be written to .*: Not a directory"):
        letter_files(tmp_path / "file" / "letters").write([LETTER])


def test_no_file_is_made_before_there_is_a_letter_and_no_directory_holds_none(tmp_path: Path) -> None:
    directory = tmp_path / "letters"
    letter_files(directory).close()
    assert not directory.exists()
    assert read_letter_files(directory) == ([], [])
