"""Reads a history back as one frozen value, refusing what does not fit together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from conformance.history.events import Header, HistoryError, Observation, Operation
from conformance.history.files import HISTORY_FILE, read_table


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """All that is known of one run of one clause.

    Attributes:
        header: what was run.
        operations: in the order they were recorded, which is the order of their ends.
        observations: in the order they were recorded.
        complete: whether the end line is there; if not, the run was cut off.
    """

    header: Header
    operations: tuple[Operation, ...] = ()
    observations: tuple[Observation, ...] = ()
    complete: bool = True

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read the history in a directory. A last line cut off in its middle is left out.

        Raises:
            HistoryError: a line cannot be understood, or a file is not the one that was recorded.
        """
        return _parse(path)

    def of_stage(self, stage: str) -> tuple[Observation, ...]:
        """The observations of a stage; empty if it was not followed."""
        return tuple(observation for observation in self.observations if observation.stage == stage)

    def of_action(self, action: str) -> tuple[Operation, ...]:
        """The operations of that action."""
        return tuple(operation for operation in self.operations if operation.action == action)

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """The rows of a small stage as dictionaries, each with the `data_type` it was observed under, if any."""
        rows: list[dict[str, Any]] = []
        for observation in self.of_stage(stage):
            kind = {} if observation.data_type is None else {"data_type": observation.data_type}
            rows.extend({**kind, **row} for row in observation.table.to_pylist())
        return rows


def _parse(path: Path) -> History:
    file = path / HISTORY_FILE
    events = _events(file)
    if not events:
        raise HistoryError(f"{file}: holds no whole line")
    header: Header | None = None
    operations: list[Operation] = []
    observations: list[Observation] = []
    complete = False
    for number, event in enumerate(events, start=1):
        if complete:
            raise HistoryError(f"{file}: line {number} comes after the end line")
        try:
            if header is None:
                header = Header.from_json(event)
            elif event["type"] == "operation":
                operations.append(Operation.from_json(event))
            elif event["type"] == "observation":
                observations.append(_observation(path, event))
            elif event["type"] == "end":
                complete = _ended(event, len(operations))
            else:
                raise HistoryError(f"unknown type {event['type']!r}")
        except KeyError as error:
            raise HistoryError(f"{file}: line {number} lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise HistoryError(f"{file}: line {number}: {error}") from error
    assert header is not None
    return History(header, tuple(operations), tuple(observations), complete)


def _events(file: Path) -> list[Mapping[str, Any]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise HistoryError(f"{file}: cannot be read: {error.strerror}") from error
    events: list[Mapping[str, Any]] = []
    # What follows the last line end was cut off while it was written.
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise HistoryError(f"{file}: line {number} is not JSON: {error}") from error
        if not isinstance(event, dict):
            raise HistoryError(f"{file}: line {number} is not a JSON object")
        events.append(event)
    return events


def _observation(path: Path, event: Mapping[str, Any]) -> Observation:
    name = event["file"]
    if Path(name).name != name:
        raise HistoryError(f"{name!r} is not beside the history")
    table: pa.Table = read_table(path / name, event["rows"], event["sha256"])
    return Observation(stage=event["stage"], table=table, data_type=event.get("data_type"))


def _ended(event: Mapping[str, Any], operations: int) -> bool:
    if event["operations"] != operations:
        raise HistoryError(f"the end line counts {event['operations']} operations, the history holds {operations}")
    return True
