"""Gives a platform more than it can take, watches it meanwhile, and records what it did."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from conformance.drivers import http
from conformance.drivers.levels import LEVELS
from conformance.drivers.process_memory import peak_bytes, reset_peak
from conformance.drivers.repeating import repeating
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess

LOOK_SECONDS = 0.25
FINISH_TIMEOUT_SECONDS = 120.0
_TRADES = {"data_type": "trades"}
_TYPES = {
    **dict.fromkeys(("session", "exchange", "symbol", "topic", "reason"), pa.string()),
    **dict.fromkeys(("session_sequence", "source_sequence", "kafka_partition", "kafka_offset"), pa.int64()),
}


class RatedFeeder:
    """A feed in a process of its own, whose rate is changed while it runs; a context manager.

    Args:
        stack: where to.
        directory: for its log and the fates of its records.
        seed: of its trades.
        environment: settings of its producer.
    """

    def __init__(self, stack: Stack, directory: Path, seed: int, environment: Mapping[str, str]) -> None:
        self._fates = directory / "fates.csv"
        arguments = ["--data-dir", str(stack.directory), "--seed", str(seed), "--fates", str(self._fates)]
        log = directory / "logs" / "rated-feeder.log"
        command = ["conformance.stacks.rated_feeder", *arguments]
        self._child = ChildProcess("rated-feeder", command, log, environment, process_starter())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def set_rate(self, records_per_second: float) -> Mapping[str, Any]:
        """Send so many a second from now on; how many were given so far, and when. 0 ends it: what became of all."""
        return self._child.request({"rate": records_per_second})

    def fates(self) -> pa.Table:
        """What became of each record, once it has ended: `reason` is empty for those that were acknowledged."""
        options = csv.ConvertOptions(column_types=_TYPES, null_values=[""], strings_can_be_null=False)
        return csv.read_csv(self._fates, convert_options=options)

    def fed(self) -> pa.Table:
        """Stage `fed`, once it has ended."""
        fates = self.fates()
        outcome = pc.if_else(pc.equal(fates["reason"], ""), "ok", "fail")
        return fates.drop_columns(["reason"]).append_column("outcome", outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.stop()


class Watcher:
    """Records every quarter of a second, as the operation `sample`, what a consumer shows of itself.

    Args:
        history: where to.
        metrics_url: of the consumer.
        processes: process id of each process whose memory is measured, by its name.
    """

    def __init__(self, history: HistoryWriter, metrics_url: str, processes: Mapping[str, int]) -> None:
        self._history = history
        self._metrics_url = metrics_url
        self._processes = processes

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Go on for as long as the body runs; at its end, what each process held at most, as the operation `memory`.

        Raises:
            Exception: what a look raised.
        """
        before = {name: reset_peak(pid) for name, pid in self._processes.items()}
        with repeating(LOOK_SECONDS, self._record_look):
            yield
        for name, pid in self._processes.items():
            attributes = {"process": name, "before_bytes": before[name], "peak_bytes": peak_bytes(pid)}
            self._history.operation("harness", "memory", "ok", attributes=attributes)

    def look(self) -> Mapping[str, Any]:
        """One look."""
        exposition = http.get(self._metrics_url).body
        return {
            "level": LEVELS[int(http.metric(exposition, "k2_degradation_level", {"component": "consumer"}))],
            "taken": int(http.metric(exposition, "k2_messages_received_total", _TRADES)),
            "lag": int(http.metric(exposition, "k2_consumer_lag_messages", _TRADES)),
        }

    def _record_look(self) -> None:
        began = time.monotonic_ns()
        seen = self.look()
        self._history.operation("harness", "sample", "ok", invoked_monotonic_ns=began, attributes=seen)


@contextmanager
def overload(
    history: HistoryWriter, feeder: RatedFeeder, records_per_second: float, watcher: Watcher
) -> Iterator[None]:
    """The operation `overload`: records at this rate for as long as the body runs, counted at both ends."""
    with history.invoke("harness", "overload", {"rate": records_per_second}) as invocation:
        began, taken = feeder.set_rate(records_per_second), watcher.look()["taken"]
        started = time.monotonic()
        yield
        given = feeder.set_rate(records_per_second)["given"]
        invocation.attributes |= {
            "given": given - began["given"],
            "taken": watcher.look()["taken"] - taken,
            "seconds": round(time.monotonic() - started, 3),
        }


def finish(history: HistoryWriter, feeder: RatedFeeder) -> dict[tuple[str, int], int]:
    """End the feed; the stage `shed`, the operation `books`, and where each partition ends."""
    counted = feeder.set_rate(0)["statistics"]
    fates = feeder.fates()
    acknowledged = pc.equal(fates["reason"], "")
    listed = fates.filter(pc.invert(acknowledged))
    history.observe("shed", listed, "trades")
    history.operation(
        "producer",
        "books",
        "ok",
        attributes={
            "given": counted["records_given"],
            "acknowledged": counted["records_sent"],
            "errors_by_reason": counted["errors_by_reason"],
            "errors_by_metric": json.loads(json.dumps(counted["errors_by_metric"])),
        },
    )
    ends = fates.filter(acknowledged).group_by(["topic", "kafka_partition"]).aggregate([("kafka_offset", "max")])
    return {(row["topic"], row["kafka_partition"]): row["kafka_offset_max"] + 1 for row in ends.to_pylist()}
