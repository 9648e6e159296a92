"""Compares the rows of a table with the order of the log, and with the rows of another run of the same feed."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_KEY = ("session", "exchange", "symbol")
_VERDICT = ("sequence_event", "quality_flags")


def rows_out_of_order(rows: pa.Table, snapshots: pa.Table) -> int:
    """Rows that do not follow their predecessor of the same key.

    Within a key, by the snapshot that brought them and then by their place in the log, rows must lie in one partition,
    at rising offsets, with rising positions in the feed.

    Args:
        rows: session, exchange, symbol, session_sequence, kafka_partition, kafka_offset, snapshot_id.
        snapshots: snapshot_id, sequence_number.
    """
    numbers = dict(zip(snapshots["snapshot_id"].to_pylist(), snapshots["sequence_number"].to_pylist(), strict=True))
    arrival = np.array([numbers[snapshot] for snapshot in rows["snapshot_id"].to_pylist()], np.int64)
    key = _codes(rows, _KEY)
    partition, offset, position = (
        np.asarray(rows[name].to_numpy(), np.int64) for name in ("kafka_partition", "kafka_offset", "session_sequence")
    )
    order = np.lexsort((offset, arrival, key))
    earlier, later = order[:-1], order[1:]
    follows = (
        (partition[earlier] == partition[later])
        & (offset[earlier] < offset[later])
        & (position[earlier] < position[later])
    )
    return int(((key[earlier] == key[later]) & ~follows).sum())


def differing_verdicts(rows: pa.Table, other: pa.Table) -> int:
    """Records that only one of two tables has, and records whose sequence event or quality flags differ.

    Args:
        rows: session, exchange, symbol, session_sequence, sequence_event, quality_flags.
        other: the same columns.
    """
    mine, theirs = (_with_names(table) for table in (rows, other))
    joined = mine.join(theirs, keys="record", right_suffix="_other", join_type="full outer")
    equal = pc.fill_null(pc.equal(joined["verdict"], joined["verdict_other"]), False)
    return int(pc.sum(pc.invert(equal)).as_py() or 0)


def _with_names(rows: pa.Table) -> pa.Table:
    """The record's name and its verdict, each as one text."""
    columns = [rows[name].cast(pa.string()) for name in (*_KEY, "session_sequence")]
    record = pc.binary_join_element_wise(*columns, "\x1f")
    verdict = [rows[name].cast(pa.string()) for name in _VERDICT]
    joined = pc.binary_join_element_wise(*(pc.fill_null(column, "null") for column in verdict), "\x1f")
    return pa.table({"record": record, "verdict": joined})


def _codes(rows: pa.Table, names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    columns = [rows[name].cast(pa.string()) for name in names]
    text = pc.binary_join_element_wise(*columns, "\x1f").combine_chunks().dictionary_encode()
    return np.asarray(text.indices.to_numpy(), np.int64)
