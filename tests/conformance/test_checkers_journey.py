"""Rows get numbers that are equal exactly where their keys are."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.checkers.journey import among, counts, first_rows, flags, load_journey, number_rows
from conformance.history import Header, History, HistoryError, Observation

keys = st.tuples(st.sampled_from(["a", "b", None]), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)))
tables = st.lists(st.lists(keys, max_size=8), min_size=1, max_size=3)
HEADER = Header("clause", (), "provenance", 1, "embedded", 0)


def row(symbol: str | None = "BTCUSDT", sequence: int | None = 1, offset: int | None = 0) -> dict[str, object]:
    return {
        "session": "morning",
        "exchange": "BINANCE",
        "symbol": symbol,
        "session_sequence": sequence,
        "topic": None if offset is None else "market.crypto.trades",
        "kafka_partition": None if offset is None else 0,
        "kafka_offset": offset,
    }


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session", "exchange", "symbol")),
        ("session_sequence", pa.int64()),
        ("topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
    ]
)


def observed(stage: str, *rows: dict[str, object], data_type: str | None = "trades") -> Observation:
    return Observation(stage, pa.Table.from_pylist(list(rows), schema=SCHEMA), data_type)


@given(tables)
def test_rows_have_the_same_number_if_and_only_if_their_keys_are_equal(
    rows: list[list[tuple[str | None, int | None]]],
) -> None:
    columns = [
        [
            pa.chunked_array([pa.array([text for text, _ in table], pa.string())]),
            pa.chunked_array([pa.array([value for _, value in table], pa.int64())]),
        ]
        for table in rows
    ]
    numbered, count = number_rows(columns)
    pairs = [
        (key, int(number))
        for table, found in zip(rows, numbered, strict=True)
        for key, number in zip(table, found, strict=True)
    ]
    named = {key: number for key, number in pairs if None not in key}
    assert all(number == -1 for key, number in pairs if None in key)
    assert all(named[key] == number for key, number in pairs if None not in key)
    assert sorted(named.values()) == list(range(count)) == list(range(len(set(named))))


def test_many_columns_of_many_values_do_not_run_out_of_numbers() -> None:
    distinct = 2_000
    column = pa.chunked_array([pa.array(np.arange(distinct))])
    (numbers,), count = number_rows([[column] * 8])
    assert count == distinct
    assert len(np.unique(numbers)) == distinct


def test_a_row_without_a_number_is_passed_over() -> None:
    numbers = np.array([1, -1, 1, 0])
    assert flags(numbers, 3).tolist() == [True, True, False]
    assert counts(numbers, 3).tolist() == [1, 2, 0]
    assert first_rows(numbers, 3).tolist() == [3, 0, -1]
    assert among(numbers, np.array([False, True, True])).tolist() == [True, False, True, False]
    assert among(np.array([-1]), np.array([], dtype=np.bool_)).tolist() == [False]


def test_the_same_record_has_one_identity_at_every_stage_and_in_every_encoding() -> None:
    encoded = observed("stored", row(sequence=2), row(sequence=1))
    table = encoded.table.set_column(2, "symbol", encoded.table["symbol"].dictionary_encode())
    journey = load_journey(
        History(HEADER, observations=(observed("fed", row(), row(sequence=2)), Observation("stored", table, "trades")))
    )
    assert journey.stages["fed"].identity.tolist() == journey.stages["stored"].identity.tolist()[::-1]


def test_data_types_are_told_apart_by_file_or_by_column() -> None:
    by_file = (observed("fed", row(), data_type="trades"), observed("fed", row(), data_type="quotes"))
    mixed = pa.concat_tables([by_file[0].table, by_file[1].table])
    mixed = mixed.append_column("data_type", pa.array(["trades", "quotes"]))
    journey = load_journey(History(HEADER, observations=(*by_file, Observation("stored", mixed))))
    assert journey.identities == 2
    assert journey.stages["fed"].identity.tolist() == journey.stages["stored"].identity.tolist()


def test_observations_of_one_data_type_join_in_their_order() -> None:
    journey = load_journey(History(HEADER, observations=(observed("fed", row()), observed("fed", row(sequence=2)))))
    fed = journey.stages["fed"]
    assert [part.data_type for part in fed.parts] == ["trades"]
    assert fed.describe(1) == "trades morning BINANCE:BTCUSDT #2 at market.crypto.trades/0@0"


def test_a_message_without_a_record_has_coordinates_alone() -> None:
    journey = load_journey(History(HEADER, observations=(observed("logged", row(None, None, offset=5)),)))
    logged = journey.stages["logged"]
    assert (logged.identity[0], logged.coordinates[0], logged.offset[0]) == (-1, 0, 5)
    assert logged.describe(0) == "at market.crypto.trades/0@5"


def test_a_record_that_was_not_acknowledged_has_no_coordinates() -> None:
    journey = load_journey(History(HEADER, observations=(observed("fed", row(offset=None)),)))
    fed = journey.stages["fed"]
    assert (fed.identity[0], fed.coordinates[0], fed.partition[0], fed.offset[0]) == (0, -1, -1, -1)
    assert journey.partitions == ()


def test_an_empty_stage_was_followed_all_the_same() -> None:
    journey = load_journey(History(HEADER, observations=(observed("fed", row()), observed("stored"))))
    assert journey.stages["stored"].rows == 0
    assert "logged" not in journey.stages


def test_a_stage_that_lacks_a_column_is_refused() -> None:
    table = observed("fed", row()).table.drop_columns(["session"])
    with pytest.raises(HistoryError, match=r"stage 'fed' lacks the columns \['session'\]"):
        load_journey(History(HEADER, observations=(Observation("fed", table, "trades"),)))


def test_stages_of_which_only_some_say_their_data_type_are_refused() -> None:
    with pytest.raises(HistoryError, match=r"\['fed'\] say their data type and \['stored'\] do not"):
        load_journey(History(HEADER, observations=(observed("fed", row()), observed("stored", row(), data_type=None))))


def test_a_column_of_the_wrong_type_is_refused() -> None:
    table = observed("fed", row()).table.set_column(6, "kafka_offset", pa.array(["first"]))
    with pytest.raises(HistoryError, match="column 'kafka_offset' holds string, not int64"):
        load_journey(History(HEADER, observations=(Observation("fed", table, "trades"),)))
