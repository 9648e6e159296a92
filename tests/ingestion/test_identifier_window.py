"""The window of known ids beside the plainest model of it, also with a filter that errs and hashes that collide."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.errors import ProgressError
from k2.ingestion import identifier_window
from k2.ingestion.identifier_window import CHECKPOINT_SCHEMA, FULL_SEGMENTS, IdentifierWindow
from k2.ingestion.record_identity import SCHEMA
from k2.settings import DeduplicationSettings

IDS = st.integers(0, 40)


def window_settings(window_ids: int, filter_error_rate: float = 1e-6) -> DeduplicationSettings:
    return DeduplicationSettings(window_ids=window_ids, filter_error_rate=filter_error_rate)


def identities(ids: Sequence[int]) -> pa.RecordBatch:
    """One identity for each number, spread over symbols and contents."""
    columns = [
        pa.array(["BINANCE"] * len(ids), pa.string()).dictionary_encode(),
        pa.array([f"S{number % 3}" for number in ids], pa.string()).dictionary_encode(),
        pa.array([str(number // 2) for number in ids], pa.string()),
        pa.array([number % 2 for number in ids], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


class Model:
    """The same in lists: four full segments and one that is being filled."""

    def __init__(self, window_ids: int) -> None:
        self.segment_ids = -(-window_ids // FULL_SEGMENTS)
        self.full: list[list[int]] = []
        self.filling: list[int] = []

    def recognise(self, ids: Sequence[int]) -> list[bool]:
        return [self._recognise(number) for number in ids]

    def _recognise(self, number: int) -> bool:
        if number in self.filling or any(number in segment for segment in self.full):
            return True
        self.filling.append(number)
        if len(self.filling) == self.segment_ids:
            self.full = [*self.full, self.filling][-FULL_SEGMENTS:]
            self.filling = []
        return False


@given(batches=st.lists(st.lists(IDS, max_size=25), max_size=12), window_ids=st.integers(1, 30), restart_after=IDS)
@pytest.mark.parametrize("error_rate", [1e-6, 0.999])
def test_it_says_what_the_model_says(
    error_rate: float, batches: list[list[int]], window_ids: int, restart_after: int
) -> None:
    settings = window_settings(window_ids, error_rate)
    window, model = IdentifierWindow(settings), Model(window_ids)
    for number, batch in enumerate(batches):
        assert window.recognise(identities(batch)).tolist() == model.recognise(batch)
        if number == restart_after:
            window = IdentifierWindow.from_arrow(window.to_arrow(), settings)


def test_a_filter_full_of_false_positives_drops_nothing_new() -> None:
    window = IdentifierWindow(window_settings(400, 0.999))
    ids = list(range(1_000))
    assert not window.recognise(identities(ids)).any()
    assert window.filter_hits > 900
    assert window.recognise(identities(ids[-400:])).all()


def test_identities_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifier_window, "identity_hashes", lambda batch: np.full(len(batch), 7, np.uint64))
    window = IdentifierWindow(window_settings(40))
    assert window.recognise(identities([1, 2, 3, 2, 1, 4])).tolist() == [False, False, False, True, True, False]
    assert window.recognise(identities([4, 5, 3])).tolist() == [True, False, True]


def test_the_same_id_with_another_content_is_new() -> None:
    window = IdentifierWindow(window_settings(40))
    # 4 and 5 share their id; the symbol of 10 is that of 4.
    batch = identities([4, 10])
    other = batch.set_column(2, "identifier", pa.array(["2", "2"])).cast(SCHEMA)
    assert window.recognise(other).tolist() == [False, True]
    changed = other.set_column(3, "content", pa.array([8, 9])).cast(SCHEMA)
    assert window.recognise(changed).tolist() == [False, False]


def test_how_ids_come_in_batches_makes_no_difference() -> None:
    ids = [number * 7 % 300 for number in range(900)]
    whole, pieces = IdentifierWindow(window_settings(90)), IdentifierWindow(window_settings(90))
    at_once = whole.recognise(identities(ids)).tolist()
    in_pieces = [
        known for start in range(0, 900, 13) for known in pieces.recognise(identities(ids[start : start + 13]))
    ]
    assert at_once == in_pieces
    assert whole.to_arrow() == pieces.to_arrow()


def test_a_window_that_was_loaded_writes_the_same_checkpoint() -> None:
    settings = window_settings(90)
    window = IdentifierWindow(settings)
    window.recognise(identities(range(250)))
    assert IdentifierWindow.from_arrow(window.to_arrow(), settings).to_arrow() == window.to_arrow()


@pytest.mark.parametrize(("window_ids", "still_known"), [(20, 20), (400, 100)])
def test_a_checkpoint_loads_into_a_window_of_another_size(window_ids: int, still_known: int) -> None:
    window = IdentifierWindow(window_settings(100))
    window.recognise(identities(range(100)))
    other = IdentifierWindow.from_arrow(window.to_arrow(), window_settings(window_ids))
    assert other.recognise(identities(range(100 - still_known, 100))).all()


def test_a_window_of_nothing_keeps_every_record() -> None:
    window = IdentifierWindow(window_settings(0))
    assert not window.recognise(identities([1, 1, 1])).any()
    assert (window.ids, window.to_arrow().num_rows) == (0, 0)
    kept = IdentifierWindow(window_settings(8))
    kept.recognise(identities([1, 2]))
    assert IdentifierWindow.from_arrow(kept.to_arrow(), window_settings(0)).ids == 0


def test_memory_stays_within_its_bound_over_many_windows() -> None:
    window = IdentifierWindow(window_settings(1_000))
    held = []
    for first in range(0, 50_000, 1_000):
        # Slices of one large batch, which must not be held by what is kept of them.
        window.recognise(identities(range(first, first + 1_000)))
        window.to_arrow()
        held.append(window.memory_bytes)
        assert window.ids <= 1_250
    assert max(held[5:]) <= 1.1 * held[4]


@pytest.mark.parametrize(
    ("segment", "says"),
    [
        (b"no stream", "cannot be read"),
        (None, "cannot be read"),
        ("other columns", "format none"),
        ("a later format", "format 2"),
        ("nulls", "have nulls"),
        ("other types", "other columns"),
    ],
)
def test_what_no_window_can_have_written_is_refused(segment: bytes | str | None, says: str) -> None:
    with_null = pa.RecordBatch.from_arrays([*identities([1]).columns[:3], pa.array([None], pa.int64())], schema=SCHEMA)
    format_1, format_2 = ({b"k2.identifiers.format": number} for number in (b"1", b"2"))
    made = {
        "other columns": pa.table({"a": [1]}),
        "a later format": pa.Table.from_batches([identities([1])]).replace_schema_metadata(format_2),
        "other types": pa.table({"a": [1]}).replace_schema_metadata(format_1),
        "nulls": pa.Table.from_batches([with_null]).replace_schema_metadata(format_1),
    }
    if isinstance(segment, str):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, made[segment].schema) as writer:
            writer.write_table(made[segment])
        segment = sink.getvalue().to_pybytes()
    table = pa.table([pa.array([segment], pa.binary())], schema=CHECKPOINT_SCHEMA)
    with pytest.raises(ProgressError, match=says):
        IdentifierWindow.from_arrow(table, window_settings(8))
