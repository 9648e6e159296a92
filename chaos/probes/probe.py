"""What a probe is, and the threads that take its readings."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

BETWEEN_SECONDS = 0.1
_SCHEMA = pa.schema(
    [
        ("probe", pa.string()),
        ("wall_ns", pa.int64()),
        ("seconds", pa.float64()),
        ("is_well", pa.bool_()),
        ("answer", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe saw: whether that is how it should be, and in a word what it was."""

    is_well: bool
    text: str


class Probe(Protocol):
    """Something that can be looked at, by one thread."""

    name: str

    def look(self) -> Answer:
        """Look once; a look that fails is an answer too, and takes no longer than a few seconds."""

    def close(self) -> None:
        """Give back what it holds."""


class ProbeLog:
    """Looks at every probe again and again, each in a thread of its own, for as long as the context lasts.

    Args:
        probes: each name once.
        between_seconds: the pause between two looks of one probe.
    """

    def __init__(self, probes: Iterable[Probe], between_seconds: float = BETWEEN_SECONDS) -> None:
        self._probes = tuple(probes)
        self._between_seconds = between_seconds
        self._rows: list[tuple[str, int, float, bool, str]] = []
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(probe,), name=f"probe {probe.name}", daemon=True)
            for probe in self._probes
        ]

    def table(self) -> pa.Table:
        """Stage `readings`: probe, wall_ns at which it was asked, seconds it took, is_well, answer; in that order."""
        rows = sorted(self._rows, key=lambda row: row[1])
        columns = zip(*rows, strict=True) if rows else ([] for _ in _SCHEMA)
        return pa.table(dict(zip(_SCHEMA.names, map(list, columns), strict=True)), schema=_SCHEMA)

    def fewest(self) -> int:
        """Readings of the probe that has the fewest; 0 without a probe."""
        names = [row[0] for row in tuple(self._rows)]
        return min((names.count(probe.name) for probe in self._probes), default=0)

    def well_since(self, wall_ns: int) -> bool:
        """Whether every probe found what it should since then."""
        well = {row[0] for row in tuple(self._rows) if row[1] >= wall_ns and row[3]}
        return {probe.name for probe in self._probes} <= well

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, probe: Probe) -> None:
        try:
            while not self._ending.is_set():
                wall_ns, began = time.time_ns(), time.perf_counter()
                answer = probe.look()
                seconds = time.perf_counter() - began
                self._rows.append((probe.name, wall_ns, seconds, answer.is_well, answer.text))
                self._ending.wait(self._between_seconds)
        finally:
            probe.close()
