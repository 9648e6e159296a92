"""Which records are duplicates by the exchange's own number: one that arrived before within the same numbering.

Derived from the order of arrival, number by number, by `sequence_model`; only the keys where it can matter are walked.
Messages that were dead-lettered, and all but the first message of an identity, are no news to anybody and left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.journey import (
    NONE,
    BoolArray,
    IntArray,
    Journey,
    Stage,
    among,
    counts,
    first_rows,
    flags,
    number_rows,
)
from conformance.checkers.sequence_model import DUPLICATE, TOO_OLD, Ruling, SequenceModel


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """The messages in the order they arrived.

    Attributes:
        stage: the log, or else what was fed.
        arrived: the rows of it that reached the log.
        in_table: for each identity, whether it is in the table.
        dead: for each identity, whether it was dead-lettered.
    """

    stage: Stage
    arrived: BoolArray
    in_table: BoolArray
    dead: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """Two flags for each identity.

    Attributes:
        seen: it is not in the table, and its source number had been seen.
        kept: it is in the table, and so is its source number under another identity of the same numbering.
    """

    seen: BoolArray
    kept: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
    """The arrivals that have a source number, in order of arrival: identity, key and number of each."""

    identity: IntArray
    key: IntArray
    number: IntArray

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, chosen: BoolArray) -> "_Numbers":
        return _Numbers(self.identity[chosen], self.key[chosen], self.number[chosen])


def find_repeats(journey: Journey, arrivals: Arrivals, ruling: Ruling) -> Repeats:
    """Which identities repeat a source number."""
    seen = np.zeros(journey.identities, dtype=np.bool_)
    kept = np.zeros(journey.identities, dtype=np.bool_)
    numbers = _numbers(journey, arrivals)
    if not len(numbers):
        return Repeats(seen, kept)
    twice = _more_than_once_in_table(numbers, arrivals)
    absent = ~arrivals.in_table[numbers.identity]
    keys = flags(numbers.key[twice | absent], int(numbers.key.max()) + 1)
    walked = keys[numbers.key]
    for identity, is_absent, is_twice, settled in _walk(numbers.take(walked), absent[walked], twice[walked], ruling):
        seen[identity] = is_absent
        kept[identity] = is_twice and settled
    return Repeats(seen, kept)


def _walk(
    numbers: _Numbers, absent: BoolArray, twice: BoolArray, ruling: Ruling
) -> Iterator[tuple[int, bool, bool, bool]]:
    """Each arrival whose number was seen before, with its flags and whether no bounded memory can have forgotten it."""
    models: dict[int, SequenceModel] = {}
    columns = (numbers.identity, numbers.key, numbers.number, absent, twice)
    for identity, key, number, is_absent, is_twice in zip(*(column.tolist() for column in columns), strict=True):
        model = models.setdefault(key, SequenceModel(ruling))
        seen = model.has_seen(number)
        if model.judge(number) in (DUPLICATE, TOO_OLD) and seen:
            yield identity, is_absent, is_twice, model.is_settled(number)


def _numbers(journey: Journey, arrivals: Arrivals) -> _Numbers:
    stage = arrivals.stage
    source = stage.column("source_sequence", pa.int64())
    columns = [stage.column(name, pa.string()) for name in ("exchange", "symbol")]
    (key,), _ = number_rows([[pa.chunked_array([pa.array(stage.data_types)]), *columns]])
    # What was fed without an acknowledgement and is in the table did arrive, and the table says where.
    stored = journey.stages["stored"]
    there = first_rows(stored.identity, journey.identities)
    unplaced = np.flatnonzero((stage.offset == NONE) & among(stage.identity, there != NONE))
    partition, offset = stage.partition.copy(), stage.offset.copy()
    partition[unplaced] = stored.partition[there[stage.identity[unplaced]]]
    offset[unplaced] = stored.offset[there[stage.identity[unplaced]]]
    arrived = arrivals.arrived.copy()
    arrived[unplaced] = True

    rows = np.flatnonzero(arrived & among(stage.identity, ~arrivals.dead) & np.asarray(pc.is_valid(source).to_numpy()))
    rows = rows[np.lexsort((offset[rows], partition[rows]))]
    rows = rows[np.sort(np.unique(stage.identity[rows], return_index=True)[1])]
    number = np.asarray(source.take(pa.array(rows)).to_numpy(), dtype=np.int64)
    return _Numbers(stage.identity[rows], key[rows], number)


def _more_than_once_in_table(numbers: _Numbers, arrivals: Arrivals) -> BoolArray:
    """For each arrival that is in the table, whether another with its key and number is there too."""
    stored = arrivals.in_table[numbers.identity]
    keys = [pa.chunked_array([pa.array(column)]) for column in (numbers.key, numbers.number)]
    (pair,), total = number_rows([keys])
    often = counts(pair[stored], total) > 1
    more: BoolArray = stored & often[pair]
    return more
