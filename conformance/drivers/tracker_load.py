"""Loads for the sequence trackers: traffic of many symbols, threads that share keys, and a process that weighs a state.

Run as a module it fills one tracker, or the whole state of a partition, and prints as JSON what that added to the
memory of its process, in bytes.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa

from k2.ingestion.judging import PartitionState
from k2.ingestion.record_identity import SCHEMA as IDENTITY_SCHEMA
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.ingestion.sequence_tracker import SequenceStatistics, SequenceTracker
from k2.settings import DeduplicationSettings, SequenceSettings

EXCHANGE = "BINANCE"
ODD_EVERY = 1_000
_WEIGHING_TIMEOUT_SECONDS = 120
_KEYS_A_BATCH = 500


@dataclass(frozen=True, slots=True)
class Traffic:
    """Numbers in order of arrival: [rows] index of the symbol, [rows] number, and the symbols' names."""

    codes: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int64]
    symbols: tuple[str, ...]

    def keys(self) -> list[pa.DictionaryArray]:
        """Exchange and symbol as columns."""
        exchange = pa.DictionaryArray.from_arrays(np.zeros(len(self.codes), np.int32), pa.array([EXCHANGE]))
        return [exchange, pa.DictionaryArray.from_arrays(self.codes, pa.array(self.symbols))]


def traffic(rows: int, symbols: int, seed: int) -> Traffic:
    """Symbols at random, each counting on; of a thousand rows one is missing before, one comes late, one twice."""
    chance = np.random.default_rng(seed)
    codes = chance.integers(0, symbols, rows).astype(np.int32)
    odd = chance.integers(0, ODD_EVERY, rows)
    order = np.argsort(codes, kind="stable")
    counted = np.cumsum(np.where(odd == 0, 2, np.where(odd == 1, 0, 1)))
    late = np.flatnonzero(odd[1:] == 2)
    counted[late], counted[late + 1] = counted[late + 1], counted[late].copy()
    numbers = np.empty(rows, np.int64)
    numbers[order] = counted
    return Traffic(codes, numbers, tuple(f"S{code}" for code in range(symbols)))


@dataclass(frozen=True, slots=True)
class Took:
    """What a load took: by the clock, and of the processor, which others on the machine hardly change."""

    seconds: float
    core_seconds: float

    @classmethod
    def by(cls, work: Callable[[], object]) -> Self:
        """Do some work and say what it took."""
        started, core_started = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - started, time.process_time() - core_started)

    @classmethod
    def best(cls, of: Sequence[Self]) -> Self:
        """The least of each: what else a machine does adds to a round and takes nothing away."""
        return cls(min(one.seconds for one in of), min(one.core_seconds for one in of))


def by_scalar_tracker(load: Traffic) -> Took:
    """What the scalar tracker takes for all of it, number by number."""
    tracker = SequenceTracker(SequenceSettings())
    rows = [(load.symbols[code], number) for code, number in zip(load.codes, load.numbers.tolist(), strict=True)]

    def check() -> None:
        for symbol, number in rows:
            tracker.check_sequence(EXCHANGE, symbol, number)

    return Took.by(check)


def by_vectorised_tracker(load: Traffic) -> Took:
    """What the vectorised tracker takes for all of it, in one batch."""
    tracker, keys, numbers = SequenceBatchTracker(SequenceSettings()), load.keys(), pa.array(load.numbers)
    return Took.by(lambda: tracker.check(keys, numbers))


@dataclass(frozen=True, slots=True)
class Checked:
    """What a tracker says after several threads used it at once.

    Attributes:
        symbols: statistics of each symbol, and how many ranges stay open, after 1 and then all other numbers came.
        raised: what checks ended in that did not end well.
    """

    symbols: Mapping[str, tuple[SequenceStatistics, int]]
    raised: Sequence[str]


def checked_by_threads(symbols: int, threads: int, numbers_each: int) -> Checked:
    """Several threads check numbers of the same symbols at once, each its share in an order of its own."""
    raised: list[str] = []
    tracker = SequenceTracker(SequenceSettings(max_open_ranges=symbols * threads * numbers_each))
    names = [f"S{number}" for number in range(symbols)]
    for name in names:
        tracker.check_sequence(EXCHANGE, name, 1)

    def check(thread: int) -> None:
        shuffled = random.Random(thread)
        share = [(name, 2 + thread + threads * step) for name in names for step in range(numbers_each)]
        shuffled.shuffle(share)
        for name, number in share:
            try:
                tracker.check_sequence(EXCHANGE, name, number)
            except Exception as error:  # noqa: BLE001 - whatever threads bring about is to be seen
                raised.append(type(error).__name__)

    interval_seconds = sys.getswitchinterval()
    # So that threads meet in the middle of a check, thousands of times.
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(check, range(threads)))
    finally:
        sys.setswitchinterval(interval_seconds)
    said = {name: (tracker.get_statistics(EXCHANGE, name), len(tracker.get_gaps(EXCHANGE, name))) for name in names}
    return Checked(said, raised)


def weigh(what: str, symbols: int, open_ranges: int) -> dict[str, Any]:
    """Fill one of FILLED in a process of its own: bytes that added (`bytes`), keys, open ranges and ids it holds."""
    command = [sys.executable, "-m", "conformance.drivers.tracker_load", what, str(symbols), str(open_ranges)]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=_WEIGHING_TIMEOUT_SECONDS)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def main() -> None:
    """Fill one of them, and print what it weighs."""
    parser = argparse.ArgumentParser(prog="python -m conformance.drivers.tracker_load")
    parser.add_argument("what", choices=list(FILLED))
    parser.add_argument("symbols", type=int)
    parser.add_argument("open_ranges", type=int)
    chosen = parser.parse_args()
    fill = FILLED[chosen.what]
    # What compiling and the first batch need is no part of the state.
    fill(10, 1)
    process = psutil.Process()
    before = process.memory_info().rss
    filled = fill(chosen.symbols, chosen.open_ranges)
    added = process.memory_info().rss - before
    print(json.dumps({"bytes": added, "keys": chosen.symbols, "open_ranges": filled.open_ranges, "ids": filled.ids}))


@dataclass(frozen=True, slots=True)
class Filled:
    """What was filled, so that it stays in memory, and the open ranges and ids it says it holds."""

    state: object
    open_ranges: int
    ids: int = 0


def _fill_scalar(symbols: int, open_ranges: int) -> Filled:
    tracker = SequenceTracker(SequenceSettings())
    names = [f"S{number}" for number in range(symbols)]
    for name in names:
        for place in range(open_ranges + 1):
            tracker.check_sequence(EXCHANGE, name, 1 + 2 * place)
    return Filled(tracker, sum(len(tracker.get_gaps(EXCHANGE, name)) for name in names))


def _fill_vectorised(symbols: int, open_ranges: int) -> Filled:
    tracker = SequenceBatchTracker(SequenceSettings())
    for load in _gaps(symbols, open_ranges):
        tracker.check(load.keys(), pa.array(load.numbers))
    return Filled(tracker, len(tracker.open_gaps()))


def _fill_partition(symbols: int, open_ranges: int) -> Filled:
    """Both trackers, and the window of known ids until one is forgotten, with the settings that nobody chose."""
    state = PartitionState.empty(SequenceSettings(), DeduplicationSettings())
    for load in _gaps(symbols, open_ranges):
        session = pa.DictionaryArray.from_arrays(np.zeros(len(load.codes), np.int32), pa.array(["0" * 32]))
        state.source.check(load.keys(), pa.array(load.numbers))
        state.session.check([*load.keys(), session], pa.array(load.numbers))
        names = pa.array(f"{symbol}-{number}" for symbol, number in zip(load.codes, load.numbers, strict=True))
        columns = [*load.keys(), names, pa.array(load.numbers)]
        state.identifiers.recognise(pa.RecordBatch.from_arrays(columns, schema=IDENTITY_SCHEMA))
    open_gaps = len(state.source.open_gaps()) + len(state.session.open_gaps())
    return Filled(state, open_gaps, state.identifiers.ids)


def _gaps(symbols: int, open_ranges: int) -> Iterator[Traffic]:
    names = tuple(f"S{number}" for number in range(symbols))
    for first in range(0, symbols, _KEYS_A_BATCH):
        codes = np.arange(first, min(first + _KEYS_A_BATCH, symbols), dtype=np.int32)
        numbers = 1 + 2 * np.arange(open_ranges + 1, dtype=np.int64)
        yield Traffic(np.repeat(codes, open_ranges + 1), np.tile(numbers, len(codes)), names)


FILLED: Mapping[str, Callable[[int, int], Filled]] = {
    "scalar": _fill_scalar,
    "vectorised": _fill_vectorised,
    "partition": _fill_partition,
}
"""What can be weighed: a tracker, or all that is known of a partition."""


if __name__ == "__main__":
    main()
