"""The tracker under load: threads lose no count, a million checks are quick, ten thousand symbols fit into memory.

Concurrent checks from several threads MUST lose no count (SEQ-3). A million checks MUST take less than 10 s (by K2's
own figures less than 2 s one by one, less than 0.1 s as columns), 10,000 symbols less than 1 GB, and all that is known
of a partition, known ids included, less than 64 MB (SEQ-5, PERF-3).
"""

from dataclasses import asdict

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.facts import record_fact
from conformance.drivers.tracker_load import (
    Took,
    by_scalar_tracker,
    by_vectorised_tracker,
    checked_by_threads,
    traffic,
    weigh,
)
from k2.settings import DeduplicationSettings

SYMBOLS, THREADS, NUMBERS_EACH = 4, 6, by_profile(smoke=1_500, full=20_000)
ROWS, TRAFFIC_SYMBOLS = 1_000_000, 1_000
SCALAR_ROUNDS, VECTORISED_ROUNDS = 3, 10
LIMIT_SECONDS, SCALAR_SECONDS, VECTORISED_SECONDS = 10.0, 2.0, 0.1
KEYS, OPEN_RANGES, LIMIT_BYTES = 10_000, by_profile(smoke=64, full=1_024), 10**9
SCALAR_OPEN_RANGES = 8
OWN_LIMIT_BYTES = 64 * 10**6
REMEDY = "run python -m benchmarks.sequence on a quiet machine and compare"


@pytest.mark.clause(
    name="sequence/threads",
    claims=("SEQ-3b",),
    checker="facts",
    title="Threads that check numbers of the same symbols at the same time lose no count and no number",
    minimum_samples=SYMBOLS * THREADS * NUMBERS_EACH,
    remedy="every access to the states of k2/ingestion/sequence_tracker.py must hold its lock",
)
def test_threads_that_share_symbols_lose_no_count(clause: ClauseRun) -> None:
    with clause.history() as history:
        found = checked_by_threads(SYMBOLS, THREADS, NUMBERS_EACH)
        numbers = THREADS * NUMBERS_EACH
        record_fact(history, "checks that raised", [], lambda: sorted(set(found.raised)))
        for symbol, (counts, open_ranges) in found.symbols.items():
            record_fact(
                history, f"numbers counted of {symbol}", numbers + 1, counts.get, "total_messages", samples=numbers
            )
            record_fact(history, f"repetitions counted of {symbol}", 0, lambda c=counts: c["duplicates"] + c["too_old"])
            record_fact(history, f"ranges left open of {symbol}", 0, lambda left=open_ranges: left)
    clause.judge()


@pytest.mark.alone
@pytest.mark.clause(
    name="sequence/speed",
    claims=("SEQ-5a",),
    checker="facts",
    title="One million checks take less than ten seconds, one by one and as columns",
    minimum_samples=2 * ROWS,
    remedy=REMEDY,
)
def test_a_million_checks_are_quick(clause: ClauseRun) -> None:
    own = clause.part(
        "sequence/speed_of_k2", ("PERF-3a", "PERF-3b"), "facts", "K2's own figures hold, of a core", 2 * ROWS
    )
    load = traffic(ROWS, TRAFFIC_SYMBOLS, seed=5)
    scalar = Took.best([by_scalar_tracker(load) for _ in range(SCALAR_ROUNDS)])
    # One more than is counted: the first may have to compile.
    by_vectorised_tracker(load)
    vectorised = Took.best([by_vectorised_tracker(load) for _ in range(VECTORISED_ROUNDS)])
    timed = (("scalar", scalar), ("vectorised", vectorised))
    figures = {name: asdict(took) for name, took in timed}
    with clause.history(seed=5, took=figures) as history:
        for name, took in timed:
            fact = f"{name} took less than {LIMIT_SECONDS:g} s"
            record_fact(history, fact, True, lambda t=took: t.seconds < LIMIT_SECONDS, samples=ROWS)
    with own.history(seed=5, took=figures) as history:
        for (name, took), limit in zip(timed, (SCALAR_SECONDS, VECTORISED_SECONDS), strict=True):
            fact = f"{name} took less than {limit:g} s of a core"
            record_fact(history, fact, True, lambda t=took, s=limit: t.core_seconds < s, samples=ROWS)
    shown = (f"{name} {took.seconds:.3f} s ({took.core_seconds:.3f} of a core)" for name, took in timed)
    clause.note(f"{ROWS:,} checks of {TRAFFIC_SYMBOLS:,} symbols: {', '.join(shown)}")
    clause.judge()
    own.judge()


@pytest.mark.alone
@pytest.mark.clause(
    name="sequence/memory",
    claims=("SEQ-5b",),
    checker="facts",
    title="The state of ten thousand symbols with open gaps takes less than a gigabyte in either tracker",
    minimum_samples=2 * KEYS,
    remedy=REMEDY,
)
def test_ten_thousand_symbols_fit_into_memory(clause: ClauseRun) -> None:
    weighed = {
        "scalar": weigh("scalar", KEYS, SCALAR_OPEN_RANGES),
        "vectorised": weigh("vectorised", KEYS, OPEN_RANGES),
    }
    with clause.history(weighed=weighed) as history:
        for (name, found), ranges in zip(weighed.items(), (SCALAR_OPEN_RANGES, OPEN_RANGES), strict=True):
            record_fact(history, f"open ranges in the {name} tracker", KEYS * ranges, lambda f=found: f["open_ranges"])
            record_fact(
                history,
                f"less than 1 GB for the {name} one",
                True,
                lambda f=found: 0 < f["bytes"] < LIMIT_BYTES,
                samples=KEYS,
            )
    scalar, vectorised = (found["bytes"] / 1e6 for found in weighed.values())
    clause.note(
        f"{KEYS:,} symbols: scalar {scalar:.0f} MB with {SCALAR_OPEN_RANGES} open ranges each, "
        f"vectorised {vectorised:.0f} MB with {OPEN_RANGES}"
    )
    clause.judge()


@pytest.mark.alone
@pytest.mark.clause(
    name="sequence/memory_of_partition",
    claims=("PERF-3c",),
    checker="facts",
    title="All that is known of a partition with ten thousand symbols takes less than 64 MB",
    minimum_samples=KEYS,
    remedy=REMEDY,
)
def test_all_that_is_known_of_a_partition_fits_into_64_mb(clause: ClauseRun) -> None:
    found = weigh("partition", KEYS, SCALAR_OPEN_RANGES)
    with clause.history(weighed=found) as history:
        record_fact(
            history, "open ranges in both trackers", 2 * KEYS * SCALAR_OPEN_RANGES, lambda: found["open_ranges"]
        )
        window = DeduplicationSettings().window_ids
        record_fact(history, f"{window:,} ids are known at least", True, lambda: found["ids"] >= window)
        fact = f"less than {OWN_LIMIT_BYTES / 1e6:g} MB"
        record_fact(history, fact, True, lambda: 0 < found["bytes"] < OWN_LIMIT_BYTES, samples=KEYS)
    clause.note(
        f"{KEYS:,} symbols with {SCALAR_OPEN_RANGES} open ranges in either tracker and {found['ids']:,} known ids: "
        f"{found['bytes'] / 1e6:.1f} MB"
    )
    clause.judge()
