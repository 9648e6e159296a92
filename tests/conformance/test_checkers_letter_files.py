"""The checker of dead letter files at its own boundaries: sizes to the byte, and what a killed writer may leave."""

from typing import Any

import pyarrow as pa
import pytest

from conformance.checkers import letter_files
from conformance.checkers.verdict import Outcome, Verdict, run_checker
from conformance.history import Header, History, Observation

LIMIT_BYTES = 1_000
TORN = "torn"
Files = dict[str, list[int | str]]


def judged(files: Files, **parameters: Any) -> Verdict:
    """Files of one writer, given as the sizes of their lines; TORN is half a line of ten bytes."""
    lines: list[dict[str, Any]] = []
    for name, sizes in files.items():
        for number, size in enumerate(sizes, start=1):
            whole = size != TORN
            lines.append(
                {
                    "file": name,
                    "line": number,
                    "size_bytes": size if whole else 10,
                    "is_whole": whole,
                    "run": "a",
                    "topic": "t" if whole else None,
                    "kafka_partition": 0 if whole else None,
                    "kafka_offset": len(lines) if whole else None,
                    "sha256": "s" if whole else None,
                }
            )
    place = ("topic", "kafka_partition", "kafka_offset", "sha256")
    written = [{**{name: line[name] for name in place}, "is_kept": True} for line in lines if line["is_whole"]]
    observations = [
        Observation(name, pa.Table.from_pylist(rows)) for name, rows in (("written", written), ("lines", lines))
    ]
    header = Header("letter_files", (), "letter_files", 1, "embedded", 0, {"max_size_bytes": LIMIT_BYTES, **parameters})
    return run_checker(letter_files.check, History(header, (), tuple(observations)))


def kinds(verdict: Verdict) -> set[str]:
    return {finding.kind for finding in verdict.findings}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"1": [600, 400], "2": [1]}, set()),
        ({"1": [600, 401], "2": [400]}, {"oversized_file"}),
        ({"1": [600], "2": [401]}, set()),
        ({"1": [600], "2": [400]}, {"rotated_early"}),
        ({"1": [600], "2": [5_000], "3": [400]}, set()),
        ({"1": [5_000, 1], "2": [400]}, {"oversized_file"}),
    ],
    ids=["full", "a_byte_over", "no_room", "room_for_it", "long_line_alone", "long_line_shared"],
)
def test_a_file_ends_exactly_where_the_next_line_does_not_fit(files: Files, expected: set[str]) -> None:
    assert kinds(judged(files)) == expected


def test_sizes_do_not_matter_where_there_is_no_limit() -> None:
    assert judged({"1": [600], "2": [400]}, max_size_bytes=None).outcome is Outcome.PASS


def test_a_limit_that_was_never_reached_is_not_proven() -> None:
    verdict = judged({"1": [600]})
    assert (verdict.outcome, kinds(verdict)) == (Outcome.UNKNOWN, {"never_rotated"})


@pytest.mark.parametrize(
    ("files", "killed", "expected"),
    [
        ({"1": [900], "2": [500, TORN]}, True, set()),
        ({"1": [900], "2": [500, TORN]}, False, {"torn_line"}),
        ({"1": [900], "2": [500], "3": [TORN, 600]}, True, {"torn_line"}),
        # Nobody can say whose it is, so it is no file that ended too early.
        ({"1": [900], "2": [500], "3": [TORN], "4": [TORN]}, True, set()),
    ],
    ids=["last", "nobody_killed", "not_last", "alone"],
)
def test_only_a_kill_excuses_half_a_line_and_only_the_last(files: Files, killed: bool, expected: set[str]) -> None:
    assert kinds(judged(files, killed=killed)) == expected
