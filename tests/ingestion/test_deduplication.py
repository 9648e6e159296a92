"""Records with an id and no number: what becomes of one that comes again, across sessions, batches and restarts."""

import pyarrow as pa
import pytest

from k2.errors import ProgressError
from k2.ingestion.judging import IDENTIFIERS, PartitionState
from k2.ingestion.sequence_checkpoint import FORMAT_KEY
from k2.records.definition import QUOTE, TRADE
from k2.settings import DeduplicationSettings, SequenceSettings
from tests.ingestion.market_records import HERE, Judged, numbers, quote, trade

AGAIN = {"session": "session-2"}


@pytest.fixture
def judge() -> Judged:
    return Judged(QUOTE)


def quotes(first: int, last: int, **changes: object) -> list[dict[str, object]]:
    return [quote(number, **{"quote_id": str(40 * number), **changes}) for number in range(first, last + 1)]


def test_a_quote_that_a_second_feed_delivers_is_dropped_and_counted(judge: Judged) -> None:
    assert numbers(judge.batch(*quotes(1, 5))) == [1, 2, 3, 4, 5]
    again = judge.batch(*quotes(4, 7, **AGAIN))
    assert numbers(again) == [6, 7]
    assert (again.duplicates, again.looked_up.known, again.looked_up.new) == (2, 2, 0)


def test_one_that_comes_twice_in_a_batch_is_kept_once(judge: Judged) -> None:
    judged = judge.batch(*quotes(1, 3), *quotes(2, 4, **AGAIN))
    assert numbers(judged) == [1, 2, 3, 4]
    assert judged.duplicates == 2


def test_it_is_recognised_after_a_restart(judge: Judged) -> None:
    judge.batch(*quotes(1, 5))
    judge.restart()
    assert judge.batch(*quotes(1, 5, **AGAIN)).rows.num_rows == 0


def test_equal_quotes_without_an_id_are_all_kept(judge: Judged) -> None:
    same = quotes(1, 3, quote_id=None)
    judge.batch(*same)
    assert judge.batch(*quotes(1, 3, quote_id=None, **AGAIN)).rows.num_rows == 3


def test_the_id_of_a_corrected_quote_keeps_both(judge: Judged) -> None:
    judge.batch(*quotes(1, 2))
    assert numbers(judge.batch(*quotes(1, 2, bid_price="98", **AGAIN))) == [1, 2]


def test_numbered_trades_never_reach_the_window() -> None:
    judge = Judged(TRADE)
    judge.batch(*(trade(number, number, trade_id=str(number)) for number in range(1, 9)))
    assert judge.states[HERE].identifiers.ids == 0
    assert IDENTIFIERS not in judge.states[HERE].to_arrow().column("tracker").to_pylist()


def test_trades_without_numbers_are_recognised_by_their_ids() -> None:
    judge = Judged(TRADE)
    fills = [trade(number, trade_id=f"fill-{number}") for number in range(1, 4)]
    judge.batch(*fills)
    assert judge.batch(*({**fill, **AGAIN} for fill in fills)).duplicates == 3


def test_what_the_session_knows_does_not_reach_the_window(judge: Judged) -> None:
    judge.batch(*quotes(1, 5))
    again = judge.batch(*quotes(1, 5))
    assert (again.duplicates, again.looked_up.known) == (5, 0)


def test_partitions_do_not_know_one_anothers_ids(judge: Judged) -> None:
    judge.batch(*quotes(1, 2))
    elsewhere = judge.batch(*quotes(1, 2, **AGAIN), places=[("market.equities.quotes", 0)] * 2)
    assert elsewhere.duplicates == 0


def test_a_rejected_quote_is_not_remembered(judge: Judged) -> None:
    rejected = judge.batch(*quotes(1, 1, bid_quantity="-1"))
    assert len(rejected.rejects) == 1
    assert judge.states[HERE].identifiers.ids == 0


def test_a_state_that_saw_a_batch_which_was_not_committed_is_thrown_away() -> None:
    judge = Judged(QUOTE)
    judge.batch(*quotes(1, 3))
    committed = judge.states[HERE].to_arrow()
    judge.batch(*quotes(4, 6))
    judge.states[HERE] = PartitionState.from_arrow(committed, SequenceSettings())
    assert numbers(judge.batch(*quotes(4, 6))) == [4, 5, 6]


def test_a_full_filter_drops_no_new_quote() -> None:
    judge = Judged(QUOTE, deduplication=DeduplicationSettings(window_ids=64, filter_error_rate=0.999))
    judged = judge.batch(*quotes(1, 300))
    assert judged.rows.num_rows == 300
    assert judged.looked_up.new > 100


def test_the_checkpoint_keeps_its_format_and_the_trackers_their_rows(judge: Judged) -> None:
    judge.batch(*quotes(1, 3))
    table = judge.states[HERE].to_arrow()
    assert table.schema.metadata[FORMAT_KEY] == b"2"
    assert table.column("tracker").to_pylist() == ["session", IDENTIFIERS]
    assert table.column("segment").null_count == 1


def test_known_ids_without_their_column_are_refused(judge: Judged) -> None:
    judge.batch(*quotes(1, 3))
    table = judge.states[HERE].to_arrow()
    for altered in (
        table.drop_columns(["segment"]),
        table.set_column(table.column_names.index("segment"), "segment", pa.array(["a", "b"])),
    ):
        with pytest.raises(ProgressError, match="known ids"):
            PartitionState.from_arrow(altered, SequenceSettings())
