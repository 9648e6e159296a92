"""What a state checkpoint takes from each place it may be kept in: object store, Redis, file, memory.

Run from the checkout: python -m benchmarks.state_cache [--rounds 40] [--latency-ms 0 10] [--json FILE]

Starts the container stack and puts into its object store and its Redis one checkpoint of each size: a few symbols, the
default window of known ids full, and 10,000 symbols with 8 open gaps and that window. Each round reads every one from
every place through the code a consumer runs when it takes a partition over, digest and all, and turns it into a state.
With `--latency-ms` Toxiproxy delays every answer of both servers by as much, since a loopback is no network. Given are
wall-clock milliseconds: least, median, most. Writing is what each commit pays for the copy.
"""

import argparse
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.deduplication import judged, quotes
from conformance.stacks.containers.services import open_services
from conformance.stacks.containers.stack import ContainerStack
from k2.clock import SystemClock
from k2.ingestion.judging import PartitionState
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import BreakerSettings, DeduplicationSettings, SequenceSettings, StateSettings
from k2.state.checkpoint_cache import CheckpointCache
from k2.state.memory import MemoryStore
from k2.state.redis_server import RedisStore
from k2.state.sqlite import SqliteStore
from k2.state.store import StateStore
from k2.storage.audit import TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.checkpoints import to_bytes
from k2.storage.progress import PartitionKey
from k2.storage.writer import TableWriter

KEYS, GAPS_PER_KEY = 10_000, 8
PATIENCE_SECONDS = 30.0
_TOXIC = "delay"


@dataclass(frozen=True, slots=True)
class Taken:
    """Milliseconds of one size from or to one place."""

    latency_ms: int
    checkpoint: str
    kilobytes: int
    place: str
    least_ms: float
    median_ms: float
    most_ms: float


def states() -> dict[str, pa.Table]:
    """The checkpoints by what is in them."""
    window_ids = DeduplicationSettings().window_ids
    few = judged([quotes(1_000, 0, "one")], 0)
    full = judged([quotes(2 * window_ids, 0, "one")], window_ids)
    tracker = SequenceBatchTracker(SequenceSettings())
    codes = pa.array(np.tile(np.arange(KEYS, dtype=np.int32), GAPS_PER_KEY + 1))
    symbols = pa.DictionaryArray.from_arrays(codes, pa.array([f"SYMBOL-{code:05}" for code in range(KEYS)]))
    exchange = pa.array(["BINANCE"] * len(codes)).dictionary_encode()
    tracker.check([exchange, symbols], pa.array(np.repeat(1 + 2 * np.arange(GAPS_PER_KEY + 1), KEYS)))
    many = PartitionState(tracker, full.session, full.identifiers)
    return {"200 symbols": few.to_arrow(), "with known ids": full.to_arrow(), "and 10,000 symbols": many.to_arrow()}


@contextmanager
def delayed(stack: ContainerStack, milliseconds: int) -> Iterator[None]:
    """Every answer of the object store and of Redis comes so much later."""
    names = ("object-store", "redis") if milliseconds else ()
    for name in names:
        stack.services.proxies.add_toxic(name, "latency", {"latency": milliseconds}, toxic=_TOXIC)
    try:
        yield
    finally:
        for name in names:
            stack.services.proxies.remove_toxic(name, _TOXIC)


def writers(stack: ContainerStack, folder: Path) -> dict[str, TableWriter]:
    """A writer for each place; what has no store reads the object store."""
    clock, settings = SystemClock(), stack.settings
    patient = settings.state.model_copy(update={"redis_timeout_seconds": PATIENCE_SECONDS})
    breaker = CircuitBreaker("redis", BreakerSettings(), Metrics(), clock)
    stores: dict[str, StateStore | None] = {
        "object store": None,
        "Redis": RedisStore(patient, breaker),
        "SQLite file": SqliteStore(folder / "state.db", StateSettings().max_bytes, clock),
        "memory": MemoryStore(StateSettings().max_bytes, clock),
    }
    catalog = IcebergCatalog(settings.storage)
    audit = TransactionAuditLog(folder / "audit.jsonl")
    return {
        place: TableWriter(
            QUOTE,
            catalog,
            audit,
            Metrics(),
            clock,
            lambda: uuid.uuid4().hex,
            None if store is None else CheckpointCache([store], StateSettings().ttl_seconds, Metrics()),
        )
        for place, store in stores.items()
    }


def measure(stack: ContainerStack, folder: Path, latency_ms: int, rounds: int) -> list[Taken]:
    """Read every checkpoint from every place, in turns."""
    places, key, measured = writers(stack, folder), PartitionKey("cluster", "topic", 0), []
    for name, state in states().items():
        size = len(to_bytes(state)) // 1_024
        # Written without a delay, or filling the places would take longer than the measurement.
        paths = {place: writer.write_state(state, key, 1) for place, writer in places.items()}
        work: dict[str, Callable[[], object]] = {
            f"read: {place}": lambda place=place, path=paths[place]: PartitionState.from_arrow(  # type: ignore[misc]
                places[place].read_state(path), SequenceSettings()
            )
            for place in places
        }
        work |= {
            f"write: {place}": lambda place=place, state=state: places[place].write_state(state, key, 1)  # type: ignore[misc]
            for place in places
        }
        milliseconds: dict[str, list[float]] = {what: [] for what in work}
        with delayed(stack, latency_ms):
            for number in range(rounds + 1):
                for what, do in work.items():
                    started = time.perf_counter()
                    do()
                    if number:
                        milliseconds[what].append((time.perf_counter() - started) * 1e3)
        measured += [
            Taken(latency_ms, name, size, what, min(taken), statistics.median(taken), max(taken))
            for what, taken in milliseconds.items()
        ]
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Where a state checkpoint is had from soonest.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--latency-ms", type=int, nargs="+", default=[0, 10])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        open_services(Path(name), lambda text: None) as services,
        services.stack(Path(name) / "stack") as stack,
    ):
        measured = [
            taken for latency in options.latency_ms for taken in measure(stack, Path(name), latency, options.rounds)
        ]
    if options.json is not None:
        options.json.write_text(
            json.dumps({"rounds": options.rounds, "taken": [asdict(taken) for taken in measured]}, indent=2) + "\n"
        )
    table = Table("delay", "checkpoint", "KiB", "what", "least ms", "median ms", "most ms")
    for taken in measured:
        figures = (f"{value:.1f}" for value in (taken.least_ms, taken.median_ms, taken.most_ms))
        table.add_row(f"{taken.latency_ms} ms", taken.checkpoint, str(taken.kilobytes), taken.place, *figures)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
