"""State checkpoints as each format wrote them, kept for good, each with what led to it and what it holds beside it.

    format-N.arrow   the checkpoint of a partition, byte for byte as a consumer of that format wrote it
    format-N.json    settings, the numbers that came, in order, and the rows of the checkpoint

A new format gets a new pair: write its JSON without rows and run `python -m conformance.drivers.golden_checkpoints N`.
A pair that is complete is never written again.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from k2.ingestion.judging import PartitionState
from k2.settings import SequenceSettings

FOLDER = Path(__file__).resolve().parent.parent / "golden_checkpoints"
Step = Mapping[str, Any]
"""Numbers of one key that come one after the other: tracker, key, numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenCheckpoint:
    """One checkpoint that was kept.

    Attributes:
        format: the format it was written in.
        settings: the ruling it was made under.
        steps: what came, in order.
        rows: what it holds, in the columns of its format.
        table: the checkpoint itself.
    """

    format: int
    settings: SequenceSettings
    steps: Sequence[Step]
    rows: Sequence[Mapping[str, Any]]
    table: pa.Table


def golden_checkpoints() -> list[GoldenCheckpoint]:
    """All of them, the oldest format first."""
    found = [_read(path) for path in FOLDER.glob("format-*.json")]
    return sorted(found, key=lambda golden: golden.format)


def take_in(state: PartitionState, steps: Iterable[Step]) -> PartitionState:
    """The state, once it has seen the numbers of these steps."""
    for step in steps:
        tracker = getattr(state, step["tracker"])
        numbers = pa.array(step["numbers"], pa.int64())
        tracker.check([pa.array([part] * len(numbers)).dictionary_encode() for part in step["key"]], numbers)
    return state


def complete(path: Path) -> None:
    """Add rows to a plan, and write the checkpoint beside it.

    Raises:
        ValueError: it has rows.
    """
    plan = json.loads(path.read_text())
    if "rows" in plan:
        raise ValueError(f"{path} is complete; a checkpoint that was kept does not change")
    table = take_in(PartitionState.empty(SequenceSettings(**plan["settings"])), plan["steps"]).to_arrow()
    with pa.ipc.new_file(str(path.with_suffix(".arrow")), table.schema) as writer:
        writer.write_table(table)
    path.write_text(_readable({**plan, "rows": table.to_pylist()}))


def _read(path: Path) -> GoldenCheckpoint:
    plan = json.loads(path.read_text())
    table = pa.ipc.open_file(pa.py_buffer(path.with_suffix(".arrow").read_bytes())).read_all()
    return GoldenCheckpoint(plan["format"], SequenceSettings(**plan["settings"]), plan["steps"], plan["rows"], table)


def _readable(document: Mapping[str, Any]) -> str:
    """JSON with one line for each entry of a list."""
    parts = []
    for name, value in document.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in value) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    complete(FOLDER / f"format-{int(sys.argv[1])}.json")
