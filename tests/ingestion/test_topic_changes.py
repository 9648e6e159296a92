"""What happens to a topic behind a consumer's back is never taken for progress."""

import pytest

from k2.errors import OffsetOutsideLogError, PartitionCountChangedError, TopicRecreatedError
from tests.ingestion.market_records import CRYPTO_TRADES, trades
from tests.ingestion.stage import PARTITIONS, Stage


def test_a_topic_made_anew_between_two_runs_stops_the_next(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    stage.take_in(4)
    recreate(stage)
    # As many as before and more, so that the table's offset is in the log again.
    stage.produce(*trades(11, 19))
    with pytest.raises(TopicRecreatedError, match=f"{CRYPTO_TRADES} was deleted and made anew"):
        stage.consumer().run()
    assert stage.session_numbers() == [1, 2, 3, 4]


def test_a_topic_made_anew_under_a_running_consumer_stops_it(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    with stage.running(stage.consumer()) as run:
        run.wait_until(lambda: stage.next_offsets() == {0: 4})
        recreate(stage)
        stage.produce(*trades(11, 19))
        with pytest.raises(TopicRecreatedError):
            run.wait_until(lambda: 11 in stage.session_numbers())
    assert stage.session_numbers() == [1, 2, 3, 4]


def test_a_topic_that_got_more_partitions_stops_the_consumer(stage: Stage) -> None:
    stage.pretend(0)  # the topic's id is not known to the table, as with brokers that give none
    recreate(stage, partitions=PARTITIONS + 1)
    with pytest.raises(PartitionCountChangedError, match=r"had 2 partitions .* and has 3 now"):
        stage.consumer().run()


def test_a_log_truncated_beyond_the_table_stops_the_next_run(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    stage.take_in(4)
    stage.produce(*trades(5, 9))
    stage.broker.delete_records(CRYPTO_TRADES, 0, 6)
    with pytest.raises(OffsetOutsideLogError, match="needs offset 4, the log holds 6 to 9"):
        stage.consumer().run()


def test_a_log_truncated_up_to_the_table_loses_nothing(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    stage.take_in(4)
    stage.broker.delete_records(CRYPTO_TRADES, 0, 4)
    stage.produce(*trades(5, 9))
    stage.take_in(9)
    assert stage.session_numbers() == list(range(1, 10))


def recreate(stage: Stage, partitions: int = PARTITIONS) -> None:
    stage.broker.delete_topic(CRYPTO_TRADES)
    stage.broker.create_topic(CRYPTO_TRADES, partitions)
