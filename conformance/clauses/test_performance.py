"""Speed, as ratios of one run: what is compared is measured in turn, and judged by its goal whether met or missed.

Committed ingest with everything on SHOULD be 15 times a plain fastavro and append consumer and reach 65 % of the sum
of its stages on one core, and MUST exceed 10,000 messages a second (PERF-1). Decoding SHOULD be 25 times fastavro's
dicts, write and commit 90 % of bare tuned Parquet, and a commit after a thousand take at most 1.5 times one after ten
(PERF-2). A window query SHOULD be 15 times as fast as PyIceberg's to_duckdb and take at most 1.2 times DuckDB on the
pruned list, and its p99 MUST stay below 5 s (PERF-4). Growth MUST be within what is stated (PERF-6).

Each clause runs a measurement of benchmarks/, smaller where that tells enough, with PROFILE=full only: all of them
together take minutes, and want the machine for themselves.
"""

from math import inf
from pathlib import Path
from statistics import median

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.measurements import REMEDY, measured, ratio_of, record_goal

pytestmark = [pytest.mark.alone, pytest.mark.full_profile, pytest.mark.timeout(600)]
DECODED, WRITTEN, MESSAGES, WINDOWS = 100_000, 500_000, 400_000, 120
STATED_EXPONENTS = {"a message": 0.1, "a commit": 0.2, "a window query": 0.2, "a sequence state": 1.1}
"""What docs/performance.md states costs to grow with, at most: powers of rows, commits, rows and symbols."""
PLAIN, FLOOR, RATE = "plain, one a call / K2, core", "floor / K2, core", "K2, messages a second by the clock"


@pytest.mark.clause(
    name="performance/decode",
    claims=("PERF-2a",),
    checker="facts",
    title="Decoding into columns is 25 times as fast as fastavro into dicts",
    minimum_samples=DECODED,
    remedy=REMEDY.format("decode"),
)
def test_decoding_is_many_times_fastavro(clause: ClauseRun, tmp_path: Path) -> None:
    figures = measured("decode", tmp_path, "--rows", str(DECODED), "--rounds", "3")
    best = max(one["ratio"] for one in figures["measurements"] if one["implementation"].startswith("K2, batches"))
    with clause.history(figures=figures) as history:
        clause.note(record_goal(history, "decoding / fastavro", best, DECODED, least=25))
    clause.judge()


@pytest.mark.clause(
    name="performance/write",
    claims=("PERF-2b",),
    checker="facts",
    title="Writing and committing a batch has at least 90 % of the rate of a bare, tuned Parquet file",
    minimum_samples=WRITTEN,
    remedy=REMEDY.format("write"),
)
def test_write_and_commit_are_nearly_a_bare_file(clause: ClauseRun, tmp_path: Path) -> None:
    figures = measured("write", tmp_path, "--rows", str(WRITTEN), "--rounds", "7")
    with clause.history(figures=figures) as history:
        share = median(figures["shares"])
        clause.note(record_goal(history, "rate of K2 / bare Parquet", share, WRITTEN, least=0.9))
    clause.judge()


@pytest.mark.clause(
    name="performance/commit",
    claims=("PERF-2c",),
    checker="facts",
    title="A commit after a thousand takes at most 1.5 times one after ten",
    minimum_samples=10,
    remedy=REMEDY.format("commit"),
)
def test_commits_do_not_grow(clause: ClauseRun, tmp_path: Path) -> None:
    figures = measured("commit", tmp_path, "--after", "10", "1000", "--rounds", "15")
    with clause.history(figures=figures) as history:
        ratio = figures["ratios"]["default retention"]
        clause.note(record_goal(history, "commit p50 after 1,000 / after 10", ratio, 15, most=1.5))
    clause.judge()


@pytest.mark.clause(
    name="performance/ingest",
    claims=("PERF-1b",),
    checker="facts",
    title="Committed ingest on one core reaches 65 % of the sum of its stages, and more than 10,000 messages a second",
    minimum_samples=MESSAGES,
    remedy=REMEDY.format("ingest"),
)
def test_committed_ingest_reaches_its_goals(clause: ClauseRun, tmp_path: Path) -> None:
    title = "Committed ingest is 15 times a plain fastavro and append consumer"
    beside_plain = clause.part("performance/plain_consumer", ("PERF-1a",), "facts", title, MESSAGES)
    figures = measured("ingest", tmp_path, "--messages", str(MESSAGES), "--rounds", "3")
    with beside_plain.history(figures=figures) as history:
        clause.note(record_goal(history, PLAIN, ratio_of(figures, PLAIN), MESSAGES, least=15))
    with clause.history(figures=figures) as history:
        clause.note(record_goal(history, FLOOR, ratio_of(figures, FLOOR), MESSAGES, least=0.65))
        clause.note(record_goal(history, RATE, ratio_of(figures, RATE), MESSAGES, least=10_000))
    try:
        clause.judge()
    finally:
        beside_plain.judge()


@pytest.mark.clause(
    name="performance/query",
    claims=("PERF-4a",),
    checker="facts",
    title="A window of one symbol is 15 times as fast as to_duckdb and within 1.2 times DuckDB on the pruned list",
    minimum_samples=WINDOWS,
    remedy=REMEDY.format("query"),
)
def test_window_queries_reach_their_goals(clause: ClauseRun, tmp_path: Path) -> None:
    slowest = clause.part("performance/query_p99", ("PERF-4c",), "facts", "Query p99 is below 5 s", WINDOWS)
    figures = measured("query", tmp_path, "--rows", "5000000", "--rounds", str(WINDOWS))
    (most_ms,) = (one["most_ms"] for one in figures["measurements"] if one["reader"] == "K2")
    with slowest.history(figures=figures) as history:
        clause.note(record_goal(history, "the slowest window, ms", most_ms, WINDOWS, most=5_000))
    with clause.history(figures=figures) as history:
        found = figures["ratios"]
        for name, bound in (("PyIceberg to_duckdb / K2", {"least": 15.0}), ("K2 / DuckDB, pruned list", {"most": 1.2})):
            clause.note(record_goal(history, name, found[name], WINDOWS, **bound))
    slowest.judge()
    clause.judge()


@pytest.mark.clause(
    name="performance/growth",
    claims=("PERF-6a",),
    checker="facts",
    title="Costs of messages, commits, queries and states grow no faster than is stated",
    minimum_samples=len(STATED_EXPONENTS),
    remedy=REMEDY.format("growth"),
)
def test_costs_grow_as_stated(clause: ClauseRun, tmp_path: Path) -> None:
    figures = measured("growth", tmp_path, "--rows", "0", "1", "5", "--rounds", "2")
    grown = {curve["name"]: curve["exponent"] for curve in figures["details"]["curves"]}
    with clause.history(figures=figures) as history:
        for name, most in STATED_EXPONENTS.items():
            clause.note(record_goal(history, f"exponent of {name}", grown[name], 1, least=-inf, most=most))
    clause.judge()
