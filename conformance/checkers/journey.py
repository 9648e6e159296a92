"""The stages of a record's journey as a history describes them, with every identity and coordinate given a number.

Numbers make the checks joins of integer arrays. Two rows have the same identity number if and only if data type,
session, exchange, symbol and session_sequence are equal, at whatever stages they were seen; the same holds for
coordinates (topic, kafka_partition, kafka_offset). -1 means that the row has none: a message that cannot be decoded
has no identity, a record that was not acknowledged has no coordinates.

Stages read here: fed, logged, stored, answered (records) and dead_letters (coordinates alone).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.verdict import MAX_EXAMPLES
from conformance.history import History, HistoryError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

RECORD_STAGES = ("fed", "logged", "stored", "answered")
DEAD_LETTERS = "dead_letters"
IDENTITY = ("session", "exchange", "symbol", "session_sequence")
COORDINATES = ("topic", "kafka_partition", "kafka_offset")
NONE = -1
_TYPES = {"session_sequence": pa.int64(), "kafka_partition": pa.int64(), "kafka_offset": pa.int64()}
_LARGEST_CODE = 1 << 62


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one data type at one stage; `start` is the row number of the first within the stage."""

    data_type: str
    table: pa.Table
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """All rows of a stage: those of each data type together, in the order they were observed.

    Attributes:
        name: fed, logged, stored, answered or dead_letters.
        parts: one for each data type.
        identity, coordinates: one number a row, -1 for none.
        partition: number of the row's (topic, partition) in `Journey.partitions`, -1 for none.
        offset: kafka_offset, -1 for none.
    """

    name: str
    parts: tuple[Part, ...]
    identity: IntArray
    coordinates: IntArray
    partition: IntArray
    offset: IntArray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.identity)

    @property
    def data_types(self) -> IntArray:
        """For each row, the number of its part."""
        return np.repeat(np.arange(len(self.parts)), [part.table.num_rows for part in self.parts])

    def column(self, name: str, data_type: pa.DataType) -> pa.ChunkedArray:
        """A column over all rows; null where a data type does not have it."""
        return _chunked([_column(part.table, name, data_type) for part in self.parts], data_type)

    def integers(self, name: str) -> IntArray:
        """An integer column over all rows, -1 where it is null."""
        return integers(self.column(name, pa.int64()))

    def describe(self, row: int) -> str:
        """The row in words: its identity and its coordinates, as far as it has them."""
        part = next(part for part in reversed(self.parts) if part.start <= row)
        values = part.table.slice(row - part.start, 1).to_pylist()[0]
        words = []
        if self.identity[row] != NONE:
            symbol = f"{values['exchange']}:{values['symbol']}"
            words.append(f"{part.data_type} {values['session']} {symbol} #{values['session_sequence']}")
        if self.coordinates[row] != NONE:
            words.append(f"at {values['topic']}/{values['kafka_partition']}@{values['kafka_offset']}")
        return " ".join(words)

    def examples(self, rows: IntArray) -> tuple[str, ...]:
        """The first of these rows in words."""
        return tuple(self.describe(int(row)) for row in rows[:MAX_EXAMPLES])


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """The stages that were followed.

    Attributes:
        stages: by name; a stage that was not observed is not there.
        identities, coordinates: how many different ones there are.
        partitions: (topic, partition) by its number.
    """

    stages: Mapping[str, Stage]
    identities: int
    coordinates: int
    partitions: tuple[tuple[str, int], ...]

    def followed(self, names: Iterable[str] = RECORD_STAGES) -> tuple[Stage, ...]:
        """The stages of these names that were followed."""
        return tuple(self.stages[name] for name in names if name in self.stages)

    def has_identity(self, stage: Stage, rows: BoolArray | None = None) -> BoolArray:
        """For each identity, whether it is among the stage's rows (or among those chosen)."""
        return flags(stage.identity if rows is None else stage.identity[rows], self.identities)

    def has_coordinates(self, stage: Stage) -> BoolArray:
        """For each coordinate, whether it is among the stage's rows."""
        return flags(stage.coordinates, self.coordinates)


def load_journey(history: History, names: Iterable[str] = (*RECORD_STAGES, DEAD_LETTERS)) -> Journey:
    """The stages of these names that the history holds.

    Raises:
        HistoryError: a stage lacks a column it needs, or only some stages say their data types.
    """
    parts = {name: _parts(history, name) for name in names if history.of_stage(name)}
    _check_data_types(parts)
    stages = tuple(parts)
    identity, identities = number_rows(
        [[_data_types(parts[name]), *_columns(name, parts[name], IDENTITY)] for name in stages]
    )
    partition, _ = number_rows([_columns(name, parts[name], COORDINATES[:2]) for name in stages])
    coordinates, coordinate_count = number_rows([_columns(name, parts[name], COORDINATES) for name in stages])
    loaded = {}
    for index, name in enumerate(stages):
        (offset,) = _columns(name, parts[name], COORDINATES[2:])
        loaded[name] = Stage(name, parts[name], identity[index], coordinates[index], partition[index], integers(offset))
    return Journey(loaded, identities, coordinate_count, _partition_names(loaded.values()))


def number_rows(keys: Sequence[Sequence[pa.ChunkedArray]]) -> tuple[list[IntArray], int]:
    """Number the rows of several tables by their key columns: equal keys, equal numbers, from 0; a null makes it -1.

    `keys[table][column]`; every table gives the same columns of the same types. Also returns the number of numbers.
    """
    if not keys:
        return [], 0
    lengths = [len(columns[0]) for columns in keys]
    code = np.zeros(sum(lengths), dtype=np.int64)
    present = np.ones(len(code), dtype=np.bool_)
    span = 1
    for position in range(len(keys[0])):
        column = _chunked([columns[position] for columns in keys], keys[0][position].type)
        encoded = column.combine_chunks().dictionary_encode()
        size = max(len(encoded.dictionary), 1)
        if span > _LARGEST_CODE // size:
            code = np.unique(code, return_inverse=True)[1].astype(np.int64)
            span = len(code) + 1
        values = integers(encoded.indices)
        present &= values != NONE
        code = code * size + np.maximum(values, 0)
        span *= size
    numbers = np.full(len(code), NONE, dtype=np.int64)
    distinct, inverse = np.unique(code[present], return_inverse=True)
    numbers[present] = inverse
    return np.split(numbers, np.cumsum(lengths)[:-1]), len(distinct)


def integers(column: pa.Array | pa.ChunkedArray) -> IntArray:
    """An Arrow integer column as numpy, -1 where it is null."""
    filled = pc.fill_null(column.cast(pa.int64()), NONE)
    return np.asarray(filled.to_numpy(), dtype=np.int64)


def flags(numbers: IntArray, count: int) -> BoolArray:
    """For each number below `count`, whether it occurs; -1 is passed over."""
    found = np.zeros(count, dtype=np.bool_)
    found[numbers[numbers != NONE]] = True
    return found


def counts(numbers: IntArray, count: int) -> IntArray:
    """For each number below `count`, how often it occurs; -1 is passed over."""
    return np.bincount(numbers[numbers != NONE], minlength=count).astype(np.int64)


def first_rows(numbers: IntArray, count: int) -> IntArray:
    """For each number below `count`, the first row that has it; -1 if there is none."""
    rows = np.flatnonzero(numbers != NONE)[::-1]
    first = np.full(count, NONE, dtype=np.int64)
    first[numbers[rows]] = rows
    return first


def among(numbers: IntArray, flagged: BoolArray) -> BoolArray:
    """For each row, whether its number is flagged; a row without a number is not."""
    if not len(flagged):
        return np.zeros(len(numbers), dtype=np.bool_)
    found: BoolArray = (numbers != NONE) & flagged[numbers]
    return found


def _parts(history: History, name: str) -> tuple[Part, ...]:
    """One part for each data type, with dictionaries decoded so that parts of several observations join."""
    tables: dict[str, list[pa.Table]] = {}
    for observation in history.of_stage(name):
        table = _decoded(observation.table)
        if "data_type" not in table.column_names:
            tables.setdefault(observation.data_type or "", []).append(table)
            continue
        column = table["data_type"].fill_null("")
        for data_type in pc.unique(column).to_pylist():
            tables.setdefault(data_type, []).append(table.filter(pc.equal(column, data_type)))
    parts: list[Part] = []
    start = 0
    for data_type, same in tables.items():
        try:
            table = pa.concat_tables(same, promote_options="permissive")
        except pa.ArrowException as error:
            raise HistoryError(f"stage {name!r}: observations of one data type do not fit: {error}") from error
        parts.append(Part(data_type, table, start))
        start += table.num_rows
    return tuple(parts)


def _check_data_types(parts: Mapping[str, tuple[Part, ...]]) -> None:
    """Rows with a data type and rows without would never have the same identity, which is no fault of the system."""
    typed: set[str] = set()
    untyped: set[str] = set()
    for name in RECORD_STAGES:
        for part in parts.get(name, ()):
            if "session" in part.table.column_names and part.table["session"].null_count < part.table.num_rows:
                (typed if part.data_type else untyped).add(name)
    if typed and untyped:
        raise HistoryError(f"stages {sorted(typed)} say their data type and {sorted(untyped)} do not")


def _decoded(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(field.type.value_type))
    return table


def _columns(name: str, parts: tuple[Part, ...], columns: Sequence[str]) -> list[pa.ChunkedArray]:
    required = columns == IDENTITY and name in RECORD_STAGES
    for part in parts:
        absent = [column for column in columns if column not in part.table.column_names]
        if required and absent:
            raise HistoryError(f"stage {name!r} lacks the columns {absent}")
    types = [_TYPES.get(column, pa.string()) for column in columns]
    return [
        _chunked([_column(part.table, column, data_type) for part in parts], data_type)
        for column, data_type in zip(columns, types, strict=True)
    ]


def _column(table: pa.Table, name: str, data_type: pa.DataType) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, data_type)])
    try:
        return table[name].cast(data_type)
    except pa.ArrowException as error:
        raise HistoryError(f"column {name!r} holds {table[name].type}, not {data_type}: {error}") from error


def _data_types(parts: tuple[Part, ...]) -> pa.ChunkedArray:
    return _chunked([pa.chunked_array([pa.repeat(part.data_type, part.table.num_rows)]) for part in parts], pa.string())


def _chunked(columns: Iterable[pa.ChunkedArray], data_type: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], type=data_type)


def _partition_names(stages: Iterable[Stage]) -> tuple[tuple[str, int], ...]:
    names: dict[int, tuple[str, int]] = {}
    for stage in stages:
        topics, partitions = stage.column("topic", pa.string()), stage.integers("kafka_partition")
        for number, row in zip(*np.unique(stage.partition, return_index=True), strict=True):
            if number != NONE and int(number) not in names:
                names[int(number)] = (topics[int(row)].as_py(), int(partitions[row]))
    return tuple(names[number] for number in sorted(names))
