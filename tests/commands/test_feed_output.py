"""What `k2 feed` says of bad lines: ten to people, all of them to a file."""

import json
from pathlib import Path

import pytest

from k2.commands.feed_output import SHOWN_BAD_LINES, BadLines
from k2.errors import UsageError
from k2.feeds.line_file import BadLine, BadLineError

PATH = Path("ticks.csv")


def bad_line(number: int) -> BadLine:
    return BadLine.of(PATH, number, BadLineError("bad_text", "why"), b"a\xff,b")


def test_the_first_bad_lines_are_shown_and_all_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rejects = tmp_path / "rejects.jsonl"
    with BadLines(rejects) as bad_lines:
        for number in range(1, 26):
            bad_lines.take(bad_line(number))
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "k2: ticks.csv: line 1: bad_text: why"
    assert len(shown) == SHOWN_BAD_LINES
    entries = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert entries[6] == {"file": "ticks.csv", "line": 7, "name": "bad_text", "reason": "why", "raw": r"a\xff,b"}
    assert [entry["line"] for entry in entries] == list(range(1, 26))
    assert bad_lines.count == 25


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rejects cannot be written: Is a directory; name another file"):
        BadLines(tmp_path)
