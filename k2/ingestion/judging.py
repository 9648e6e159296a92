"""From decoded columns to table rows: validation, deduplication, sequence verdicts, provenance. All on whole columns.

Two trackers share one code and one checkpoint. The session tracker follows the numbers the feed gives its own records,
so it knows exactly what was already taken; a number it knows is a duplicate and goes no further. The source tracker
follows the exchange's numbers among the rest, and finds the exchange's gaps. Where the exchange gives a record an id
and no number, the window of known ids tells whether it has come before.

What the table gets: every record except duplicates. A duplicate is a number, or the same record under an id, that is
known to have been seen; a number merely judged DUPLICATE or TOO_OLD by its distance, without having been seen, is kept
and flagged late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2.errors import ProgressError
from k2.ingestion.identifier_window import CHECKPOINT_SCHEMA, IdentifierWindow
from k2.ingestion.log_reader import Place, PolledBatch
from k2.ingestion.place_codes import place_codes, place_of
from k2.ingestion.record_identity import RecordIdentities
from k2.ingestion.sequence_batch import SequenceBatchResult, SequenceBatchTracker
from k2.ingestion.sequence_tracker import Knowledge, SequenceEvent
from k2.records.decode import DecodedBatch, Reject
from k2.records.definition import EXCHANGES, RecordType
from k2.records.schemas import TIMESTAMP_TYPE, table_schema
from k2.records.validation import Action, Mask, QualityFlag, Rule, rules_for
from k2.settings import DeduplicationSettings, SequenceSettings

SOURCE, SESSION, IDENTIFIERS = "source", "session", "identifiers"
DEFAULT_DEDUPLICATION = DeduplicationSettings()
_KEY_PARTS = {SOURCE: 2, SESSION: 3}
_NEVER_A_RESET = 2**62


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What is known of one partition's records: the two trackers, and the ids of records that no tracker follows."""

    source: SequenceBatchTracker
    session: SequenceBatchTracker
    identifiers: IdentifierWindow

    @classmethod
    def empty(
        cls, settings: SequenceSettings, deduplication: DeduplicationSettings = DEFAULT_DEDUPLICATION
    ) -> "PartitionState":
        """A state that has seen nothing."""
        return cls(
            SequenceBatchTracker(settings),
            SequenceBatchTracker(_session_settings(settings)),
            IdentifierWindow(deduplication),
        )

    @classmethod
    def from_arrow(
        cls,
        table: pa.Table,
        settings: SequenceSettings,
        deduplication: DeduplicationSettings = DEFAULT_DEDUPLICATION,
    ) -> "PartitionState":
        """A state that continues from a checkpoint of this or an earlier format.

        Raises:
            ProgressError: the checkpoint is of a format this code does not know, or no state can have written it.
        """
        parts = _parts(table)
        return cls(
            SequenceBatchTracker.from_arrow(parts[SOURCE], settings, _KEY_PARTS[SOURCE]),
            SequenceBatchTracker.from_arrow(parts[SESSION], _session_settings(settings), _KEY_PARTS[SESSION]),
            IdentifierWindow.from_arrow(parts[IDENTIFIERS], deduplication),
        )

    @property
    def keys_forgotten(self) -> int:
        """How often a key of either tracker was forgotten, since the partition's first record."""
        return self.source.keys_forgotten + self.session.keys_forgotten

    def to_arrow(self) -> pa.Table:
        """The checkpoints of all as one table, told apart by the column `tracker`.

        Known ids have rows of their own, null in the columns of the trackers; without any there is no column for them.
        """
        parts = [
            table.append_column("tracker", pa.array([name] * table.num_rows, pa.string()))
            for name, table in (
                (SOURCE, self.source.to_arrow()),
                (SESSION, self.session.to_arrow()),
                (IDENTIFIERS, self.identifiers.to_arrow()),
            )
            if table.num_rows or name != IDENTIFIERS
        ]
        return pa.concat_tables(parts, promote_options="default")


class LookedUp(NamedTuple):
    """What became of the ids that the filter took for known ones."""

    known: int
    new: int


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """What a batch became.

    Attributes:
        rows: the table's columns, in arrival order.
        rejects: messages that failed validation, by index into the polled batch.
        flagged: rows that carry each flag; a row may carry several.
        events: how often each sequence event was found.
        gaps_by_exchange: gaps opened, by exchange.
        duplicates: records recognised as already taken.
        looked_up: ids that the filter took for known ones, so that they were looked up.
        numbers_lost: missing numbers that were given up, by tracker (SOURCE, SESSION).
        keys_forgotten: keys the bound on keys has pushed out of the states.
    """

    rows: pa.Table
    rejects: tuple[Reject, ...]
    flagged: Mapping[QualityFlag, int]
    events: Mapping[SequenceEvent, int]
    gaps_by_exchange: Mapping[str, int]
    duplicates: int
    looked_up: LookedUp
    numbers_lost: Mapping[str, int]
    keys_forgotten: int


class BatchJudge:
    """Judges decoded batches of one record type against the state of the partitions they came from.

    Args:
        record_type: what the batches hold.
        exchanges: the exchange codes that are known.
    """

    def __init__(self, record_type: RecordType, exchanges: Sequence[str] = EXCHANGES) -> None:
        self._rules = rules_for(record_type, exchanges)
        self._schema = table_schema(record_type)
        self._identities = RecordIdentities(record_type)

    def judge(self, polled: PolledBatch, decoded: DecodedBatch, states: Mapping[Place, PartitionState]) -> JudgedBatch:
        """Judge one batch; the states take in what they see, so they are worthless if the batch is not committed."""
        good, flags, rejects = self._validate(decoded)
        kept: list[pa.Table] = []
        results: list[SequenceBatchResult] = []
        gaps: dict[str, int] = {}
        duplicates, known_ids, lost = 0, 0, {SOURCE: 0, SESSION: 0}
        hits_before = sum(state.identifiers.filter_hits for state in states.values())
        forgotten_before = sum(state.keys_forgotten for state in states.values())
        codes = place_codes(polled.topics[decoded.rows], polled.partitions[decoded.rows])
        for code in np.unique(codes).tolist():
            topic_index, partition = place_of(code)
            place = (polled.topic_names[topic_index], partition)
            here = np.flatnonzero(good & (codes == code))
            records = decoded.columns.take(pa.array(here)) if len(here) < decoded.columns.num_rows else decoded.columns
            unseen, by_session, result = _judge_sequences(records, states[place])
            results.append(result)
            lost[SOURCE] += result.lost
            lost[SESSION] += by_session.lost
            _count_gaps(gaps, records, unseen, result)
            keep, late = _fate(unseen, result)
            known_ids += self._drop_known_ids(keep, records, states[place])
            duplicates += len(records) - int(keep.sum())
            part = self._rows(records, decoded, polled, here, flags[here] | late, result, unseen)
            kept.append(part.filter(pa.array(keep)) if not keep.all() else part)
        rows = pa.concat_tables(kept) if kept else self._schema.empty_table()
        events = {event: sum(result.counts[event] for result in results) for event in SequenceEvent}
        keys_forgotten = sum(state.keys_forgotten for state in states.values()) - forgotten_before
        hits = sum(state.identifiers.filter_hits for state in states.values()) - hits_before
        looked_up = LookedUp(known_ids, hits - known_ids)
        return JudgedBatch(rows, rejects, _count_flags(rows), events, gaps, duplicates, looked_up, lost, keys_forgotten)

    def _drop_known_ids(self, keep: Mask, records: pa.RecordBatch, state: PartitionState) -> int:
        """Take records that came before under their id out of `keep`; how many. The others' ids are known now."""
        identified = self._identities.identified(records)
        if identified is None:
            return 0
        chosen = identified & keep
        known = state.identifiers.recognise(self._identities.of(records, chosen))
        keep[np.flatnonzero(chosen)[known]] = False
        return int(known.sum())

    def _validate(self, decoded: DecodedBatch) -> tuple[Mask, npt.NDArray[np.int32], tuple[Reject, ...]]:
        count = decoded.columns.num_rows
        good = np.ones(count, np.bool_)
        flags = np.zeros(count, np.int32)
        rejects: list[Reject] = []
        for rule in self._rules:
            broken = rule.broken(decoded.columns)
            if rule.action is Action.FLAG:
                flags[broken] |= rule.flag.value
                continue
            first_time = broken & good
            rejects += _rejects(rule, decoded.rows[first_time])
            good &= ~broken
        return good, flags, tuple(rejects)

    def _rows(
        self,
        records: pa.RecordBatch,
        decoded: DecodedBatch,
        polled: PolledBatch,
        here: npt.NDArray[np.intp],
        flags: npt.NDArray[np.int32],
        result: SequenceBatchResult,
        unseen: Mask,
    ) -> pa.Table:
        messages = decoded.rows[here]
        topics = pa.DictionaryArray.from_arrays(pa.array(polled.topics[messages]), pa.array(polled.topic_names))
        event_names = result.event_names()
        if not unseen.all():
            positions = np.cumsum(unseen) - 1
            event_names = event_names.take(pa.array(positions, mask=~unseen))
        added = {
            "topic": topics,
            "kafka_partition": pa.array(polled.partitions[messages]),
            "kafka_offset": pa.array(polled.offsets[messages]),
            "schema_id": pa.array(decoded.schema_ids[here]),
            "event_time": _microseconds(records.column("event_time_ns")),
            "receive_time": _microseconds(records.column("receive_time_ns")),
            "sequence_event": event_names,
            "quality_flags": pa.array(flags),
        }
        arrays, fields = [], []
        for field in self._schema:
            array = added[field.name] if field.name in added else records.column(field.name)
            if pa.types.is_map(field.type):
                array = array.cast(field.type)
            arrays.append(array)
            fields.append(field.with_type(array.type))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _parts(table: pa.Table) -> dict[str, pa.Table]:
    """The rows of each part of the state in its own columns, without the column that tells them apart."""
    if table.column_names.count("tracker") != 1:
        raise ProgressError("the state checkpoint has no tracker column: it was not written by K2")
    trackers = table.column("tracker").to_pylist()
    if not set(trackers) <= {*_KEY_PARTS, IDENTIFIERS}:
        raise ProgressError("the state checkpoint has rows of no known tracker: it was altered, or not written by K2")
    columns = [name for name in CHECKPOINT_SCHEMA.names if name in table.column_names]
    parts = {
        name: table.filter(pa.array([tracker == name for tracker in trackers], pa.bool_())).drop_columns(["tracker"])
        for name in (*_KEY_PARTS, IDENTIFIERS)
    }
    known_ids = parts.pop(IDENTIFIERS).select(columns)
    if known_ids.schema.remove_metadata() != CHECKPOINT_SCHEMA:
        if IDENTIFIERS in trackers:
            raise ProgressError("the state checkpoint has known ids and no column for them: it was altered")
        known_ids = CHECKPOINT_SCHEMA.empty_table()
    return {**{name: part.drop_columns(columns) for name, part in parts.items()}, IDENTIFIERS: known_ids}


def _session_settings(settings: SequenceSettings) -> SequenceSettings:
    # A feed session's numbers never start over; one that seems to is the same session fed again.
    return settings.model_copy(update={"reset_lowest_distance": _NEVER_A_RESET})


def _judge_sequences(
    records: pa.RecordBatch, state: PartitionState
) -> tuple[Mask, SequenceBatchResult, SequenceBatchResult]:
    """Which rows the session has not seen, the session tracker's result, and the source tracker's on exactly those."""
    session, exchange, symbol = (records.column(name) for name in ("session", "exchange", "symbol"))
    by_session = state.session.check([session, exchange, symbol], records.column("session_sequence"))
    unseen = by_session.seen != Knowledge.KNOWN
    # An exchange that begins anew is the newest of its feed. What comes later than it was sent, as a dead letter that
    # is replayed does, says nothing about where the exchange's numbering stands now.
    newest = np.isin(by_session.events, (SequenceEvent.IN_ORDER, SequenceEvent.GAP))
    numbers = records.column("source_sequence")
    if not unseen.all():
        chosen = pa.array(unseen)
        exchange, symbol, numbers = exchange.filter(chosen), symbol.filter(chosen), numbers.filter(chosen)
        newest = newest[unseen]
    return unseen, by_session, state.source.check([exchange, symbol], numbers, newest)


def _fate(unseen: Mask, result: SequenceBatchResult) -> tuple[Mask, npt.NDArray[np.int32]]:
    """Which rows are kept, and the flags of those whose number came late."""
    keep = unseen.copy()
    flags = np.zeros(len(unseen), np.int32)
    behind = (result.events == SequenceEvent.DUPLICATE) | (result.events == SequenceEvent.TOO_OLD)
    rows = np.flatnonzero(unseen)
    keep[rows[behind & (result.seen == Knowledge.KNOWN)]] = False
    flags[rows[behind & (result.seen == Knowledge.NEW)]] |= QualityFlag.LATE
    flags[rows[behind & (result.seen == Knowledge.UNKNOWN)]] |= QualityFlag.LATE | QualityFlag.UNKNOWN_WHETHER_SEEN
    return keep, flags


def _count_gaps(gaps: dict[str, int], records: pa.RecordBatch, unseen: Mask, result: SequenceBatchResult) -> None:
    if not result.counts[SequenceEvent.GAP]:
        return
    rows = np.flatnonzero(unseen)[result.events == SequenceEvent.GAP]
    for entry in pc.value_counts(records.column("exchange").take(pa.array(rows))).to_pylist():
        gaps[entry["values"]] = gaps.get(entry["values"], 0) + entry["counts"]


def _count_flags(rows: pa.Table) -> dict[QualityFlag, int]:
    bits = rows.column("quality_flags").to_numpy()
    if not bits.any():
        return {}
    return {flag: int(np.count_nonzero(bits & flag.value)) for flag in QualityFlag}


def _rejects(rule: Rule, indexes: npt.NDArray[np.int64]) -> list[Reject]:
    return [Reject(int(index), rule.name, rule.message, "validate") for index in indexes]


def _microseconds(nanoseconds: pa.Array) -> pa.Array:
    return pa.array(nanoseconds.to_numpy() // 1_000).cast(TIMESTAMP_TYPE)
