"""`k2 feed` as people type it: the commands of its documentation, and what it says of files that are not whole."""

import gzip
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Completed, Running, k2, k2_up

HEADER = b"event_time,symbol,price,quantity\n"
LINE = b"2024-08-09T10:00:00+10:00,BHP,41.52,100\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with k2_up(tmp_path_factory.mktemp("feed") / "data", "--rate", "0") as running:
        yield running


def documented_commands() -> list[str]:
    text = (ROOT / "docs" / "feeds.md").read_text()
    code = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return [line for line in code.splitlines() if line.startswith("k2 ")]


def rows(running: Running, what: str, wanted: int, *filters: str) -> list[dict[str, Any]]:
    """Rows as `k2 query` answers them, asked again until there are as many as wanted."""
    give_up_at = time.monotonic() + 20
    while True:
        answer = k2(running.directory, "query", what, "--limit", "1000", "--json", *filters)
        found = [json.loads(line) for line in answer.stdout.splitlines()]
        if len(found) >= wanted or time.monotonic() > give_up_at:
            return found


def said(answer: Completed) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(answer.stdout)
    return counts


def test_every_documented_command_does_what_it_says(running: Running, tmp_path: Path) -> None:
    commands = documented_commands()
    assert len(commands) == 4
    for command in commands:
        arguments = [str(tmp_path / part) if part == "truth.jsonl" else part for part in shlex.split(command)[1:]]
        answer = k2(running.directory, *arguments)
        assert (answer.returncode, answer.stderr) == (0, ""), command
    assert json.loads((tmp_path / "truth.jsonl").read_text().splitlines()[-1])["kind"] == "end"
    lines = {name: len((ROOT / "docs" / "examples" / f"asx_{name}.csv").read_text().splitlines()) - 1 for name in
             ("trades", "quotes", "reference_data")}  # fmt: skip
    in_2024 = [row for row in rows(running, "trades", lines["trades"], "--exchange", "ASX") if is_example(row)]
    assert len(in_2024) == lines["trades"]
    assert {row["asset_class"] for row in in_2024} == {"equities"}
    assert (
        len([row for row in rows(running, "quotes", lines["quotes"], "--exchange", "ASX") if is_example(row)])
        == (lines["quotes"])
    )
    assert len(rows(running, "reference", lines["reference_data"])) == lines["reference_data"]


def is_example(row: dict[str, Any]) -> bool:
    return str(row["session"]).startswith("csv-")


def test_bad_lines_are_named_counted_and_written_to_a_file_and_the_rest_is_sent(
    running: Running, tmp_path: Path
) -> None:
    path, rejects = tmp_path / "some.csv", tmp_path / "rejects.jsonl"
    bad = [b"x,BHP,1,1\n", b"2024-08-09T10:00:00Z,BHP,\xff,1\n", b"2024-08-09T10:00:00Z\n"] * 5
    path.write_bytes(HEADER + LINE + b"".join(bad) + LINE)
    answer = k2(running.directory, "feed", "--csv", str(path), "--exchange", "ASX", "--rejects", str(rejects), "--json")
    assert answer.returncode == 65
    counts = said(answer)
    assert (counts["acknowledged"], counts["bad_lines"]) == (2, 15)
    (file,) = counts["files"]
    kinds = {"trades": 2, "headers": 1, "bad_time": 5, "bad_text": 5, "wrong_number_of_cells": 5}
    assert (file["lines"], file["kinds"]) == (18, kinds)
    shown = answer.stderr.splitlines()
    assert len(shown) == 10
    assert shown[0].startswith(f"k2: {path}: line 3: bad_time: event_time: 'x' is not a time")
    entries = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(entry["line"], entry["name"]) for entry in entries[:3]] == [
        (3, "bad_time"), (4, "bad_text"), (5, "wrong_number_of_cells"),
    ]  # fmt: skip
    assert len(entries) == 15
    assert entries[1]["raw"] == r"2024-08-09T10:00:00Z,BHP,\xff,1"


def test_a_truncated_file_sends_what_came_before_the_damage(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    content = HEADER + b"".join(
        b"2024-08-09T10:00:00Z,CUT,%d,%d\n" % (number, number * 7919 % 10007 + 1) for number in range(1, 900)
    )
    packed = gzip.compress(content)
    path.write_bytes(packed[: len(packed) // 2])
    answer = k2(running.directory, "feed", "--csv", str(path), "--exchange", "ASX")
    assert answer.returncode == 64
    (line,) = answer.stderr.splitlines()
    found = re.search(r"the (\d+) lines before it were read, fetch the file again for the rest", line)
    assert found is not None
    sent = int(found[1]) - 1
    assert sent > 100
    assert len(rows(running, "trades", sent, "--symbol", "CUT")) == sent
