"""What a planted defect is, and the edits that plant one: each returns a changed copy of a history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import History, Observation, Operation

TableEdit = Callable[[pa.Table], pa.Table]
Plant = Callable[[History], History]


@dataclass(frozen=True, slots=True)
class Defect:
    """One way in which a system, or the evidence of it, can be wrong.

    Attributes:
        name: what was planted.
        kind: the finding it must be caught as.
        plant: makes a defective copy of a clean history.
        outcome: the verdict it must lead to.
    """

    name: str
    kind: str
    plant: Plant
    outcome: Outcome = Outcome.FAIL


@dataclass(frozen=True, slots=True)
class Suite:
    """What one checker is tried with: `clean` makes a faultless history from a seed."""

    checker: str
    clean: Callable[[int], History]
    defects: tuple[Defect, ...]


def with_parameters(history: History, **changed: object) -> History:
    """The header's parameters changed."""
    header = replace(history.header, parameters={**history.header.parameters, **changed})
    return replace(history, header=header)


def without_stage(history: History, stage: str) -> History:
    """A stage that was not observed."""
    return replace(history, observations=tuple(one for one in history.observations if one.stage != stage))


def edit_stage(history: History, stage: str, edit: TableEdit, data_type: str | None = None) -> History:
    """The first observation of a stage (of a data type) changed."""
    observations = list(history.observations)
    index = next(
        index for index, one in enumerate(observations) if one.stage == stage and data_type in (None, one.data_type)
    )
    found = observations[index]
    observations[index] = Observation(found.stage, edit(found.table), found.data_type)
    return replace(history, observations=tuple(observations))


def table_of(history: History, stage: str, data_type: str | None = None) -> pa.Table:
    """The first observation of a stage (of a data type)."""
    return next(one.table for one in history.of_stage(stage) if data_type in (None, one.data_type))


def edit_operations(
    history: History, action: str, edit: Callable[[Operation], Operation | None], variant: str | None = None
) -> History:
    """The operations of an action (and of the attribute `variant`) changed; None takes one out."""
    edited = []
    for operation in history.operations:
        chosen = operation.action == action and variant in (None, operation.attributes.get("variant"))
        changed = edit(operation) if chosen else operation
        if changed is not None:
            edited.append(changed)
    return replace(history, operations=tuple(edited))


def with_attributes(operation: Operation, changed: Mapping[str, Any]) -> Operation:
    """An operation with some of its attributes changed."""
    return replace(operation, attributes={**operation.attributes, **changed})


def drop_rows(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """A table without these rows."""
    keep = np.ones(table.num_rows, dtype=np.bool_)
    keep[list(rows)] = False
    return table.filter(pa.array(keep))


def add_row(table: pa.Table, like: int, /, **changed: object) -> pa.Table:
    """A table with a copy of a row at its end, some of its values changed."""
    return pa.concat_tables([table, set_values(table.slice(like, 1), 0, **changed)])


def set_values(table: pa.Table, row: int, /, **changed: object) -> pa.Table:
    """A table with some values of a row changed."""
    for name, value in changed.items():
        index = table.schema.get_field_index(name)
        values = table[name].to_pylist()
        values[row] = value
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    return table


def swap_values(table: pa.Table, one: int, other: int, *names: str) -> pa.Table:
    """A table with the values of two rows exchanged."""
    for name in names:
        first, second = table[name][one].as_py(), table[name][other].as_py()
        table = set_values(set_values(table, one, **{name: second}), other, **{name: first})
    return table
