"""Replays over an embedded broker: the original message back in its topic, each letter once, whatever comes between."""

import fcntl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from k2.assembly.dead_letter_verdict import judge_now
from k2.assembly.dead_letters import find_letters, take_inventory
from k2.assembly.dead_letters import replay as replay_letters
from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError, RefusedError, UnavailableError, UsageError
from k2.ingestion import replay
from k2.ingestion.dead_letter_inventory import KeptLetter, LetterFilter
from k2.ingestion.dead_letters import HEADER_REPLAY_OF, DeadLetter
from k2.settings import DeadLetterSettings, Settings
from tests.ingestion.dead_letter_samples import LETTER, FixedClock, keep, letters, send
from tests.ingestion.market_records import CRYPTO_TRADES, encoded, trade, trades
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, PATIENCE_SECONDS, QUIET, Stage, kafka_settings

PRODUCE_API, INIT_PRODUCER_ID_API, ADD_PARTITIONS_API, END_TRANSACTION_API = 0, 22, 24, 26
ALL = LetterFilter()


@dataclass(frozen=True)
class Bench:
    """A broker and a directory with dead letters."""

    broker: EmbeddedBroker
    settings: Settings

    @property
    def directory(self) -> Path:
        return self.settings.dead_letters.directory

    def send(self, *some: DeadLetter) -> None:
        send(self.broker.bootstrap_servers, *some)

    def replay(self, wanted: LetterFilter = ALL, **options: Any) -> tuple[int, int]:
        """Replay and answer how many were sent and how many were skipped."""
        done = replay_letters(self.settings, wanted, FixedClock(), **options)
        return done.result.sent if done.result else 0, done.skipped

    def source(self) -> list[Message]:
        """Everything in the source topic, in order within each partition."""
        return messages(self.broker, CRYPTO_TRADES)

    def source_values(self) -> list[str | bytes | None]:
        return sorted((message.value() for message in self.source()), key=str)

    def letters(self) -> Sequence[KeptLetter]:
        inventory, unavailable = take_inventory(self.settings, ALL)
        assert (unavailable, inventory.unreadable) == (None, ())
        return inventory.letters


def messages(broker: EmbeddedBroker, topic: str) -> list[Message]:
    """Everything in a topic, whose last offsets may be those of a transaction's end."""
    client = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "tests", "enable.partition.eof": True, **QUIET}
    )
    found: list[Message] = []
    client.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    ended = 0
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while ended < PARTITIONS:
        assert time.monotonic() < give_up_at, "the topic does not end"
        message = client.poll(0.1)
        if message is not None and message.error() is None:
            found.append(message)
        ended += message is not None and message.error() is not None
    client.close()
    return found


@pytest.fixture
def bench(broker: EmbeddedBroker, tmp_path: Path) -> Bench:
    settings = Settings(
        kafka=kafka_settings(broker.bootstrap_servers),
        dead_letters=DeadLetterSettings(directory=tmp_path / "dead-letters"),
    )
    return Bench(broker, settings)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CHUNK_LETTERS", 2)


def test_a_replay_restores_key_bytes_headers_and_partition_and_says_what_it_repeats(bench: Bench) -> None:
    bench.send(LETTER)
    assert bench.replay() == (1, 0)
    (message,) = bench.source()
    assert (message.key(), message.value(), message.partition()) == (LETTER.key, LETTER.value, LETTER.partition)
    assert message.headers() == [*LETTER.headers, (HEADER_REPLAY_OF, b"market.crypto.trades/1/77")]


def test_a_tombstone_and_a_letter_without_key_and_headers_are_restored(bench: Bench) -> None:
    bench.send(replace(LETTER, key=None, value=None, headers=()))
    assert bench.replay() == (1, 0)
    (message,) = bench.source()
    assert (message.key(), message.value(), message.partition()) == (None, None, 1)


def test_letters_go_back_in_the_order_of_their_offsets(bench: Bench, small_chunks: None) -> None:
    bench.send(*letters(11, 9, 10, 2, 100))
    assert bench.replay() == (5, 0)
    assert [message.value() for message in bench.source()] == [b"junk %d" % offset for offset in (2, 9, 10, 11, 100)]


def test_a_second_replay_sends_nothing_and_on_request_everything(bench: Bench, small_chunks: None) -> None:
    bench.send(*letters(1, 2, 3))
    assert bench.replay() == (3, 0)
    assert bench.replay() == (0, 3)
    assert len(bench.source()) == 3
    assert [kept.replayed_at_ns is not None for kept in bench.letters()] == [True, True, True]
    assert bench.replay(again=True) == (3, 0)
    assert len(bench.source()) == 6


def test_letters_that_come_later_are_sent_by_the_next_replay_alone(bench: Bench) -> None:
    bench.send(*letters(1, 2))
    bench.replay()
    bench.send(*letters(2, 3))
    assert bench.replay() == (1, 2)
    assert bench.source_values() == [b"junk 1", b"junk 2", b"junk 3"]


def test_letters_in_files_are_sent_once_too_and_no_file_is_changed(bench: Bench) -> None:
    keep(bench.directory, *letters(1, 2))
    bench.send(*letters(2, 3))
    before = {path: path.read_bytes() for path in bench.directory.iterdir()}
    assert bench.replay() == (3, 0)
    assert bench.replay() == (0, 3)
    assert bench.source_values() == [b"junk 1", b"junk 2", b"junk 3"]
    assert {path: path.read_bytes() for path in before} == before
    assert [len(kept.kept_in) for kept in bench.letters()] == [1, 2, 1]


def test_a_letter_of_a_partition_the_topic_no_longer_has_goes_where_its_key_belongs(bench: Bench) -> None:
    bench.send(*letters(1, partition=50))
    assert bench.replay() == (1, 0)
    assert bench.source_values() == [b"junk 1"]


def test_a_dry_run_sends_nothing_makes_nothing_and_says_what_would_be_sent(bench: Bench) -> None:
    bench.send(*letters(1, 2, 3))
    planned = replay_letters(bench.settings, ALL, FixedClock(), dry_run=True, limit=2)
    assert (planned.selected, planned.skipped, planned.result) == (3, 0, None)
    assert [kept.letter.offset for kept in planned.chosen] == [1, 2]
    assert bench.source() == []
    assert not bench.directory.exists()
    assert bench.replay() == (3, 0)


def test_filter_and_limit_choose_what_is_sent(bench: Bench) -> None:
    bench.send(*letters(1, 2, 3), *letters(4, error_class="bad_varint"), *letters(5, stage="validate"))
    assert bench.replay(LetterFilter(error_class="bad_varint")) == (1, 0)
    assert bench.replay(LetterFilter(stage="decode"), limit=2) == (2, 1)
    assert bench.source_values() == [b"junk 1", b"junk 2", b"junk 4"]
    assert bench.replay(LetterFilter(data_type="quotes")) == (0, 0)


def test_a_replay_that_dies_between_chunks_goes_on_where_it_stopped(bench: Bench, small_chunks: None) -> None:
    bench.send(*letters(1, 2, 3, 4, 5))

    def die(done: int, _: int) -> None:
        if done == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        bench.replay(on_progress=die)
    assert len(bench.source()) == 4
    assert bench.replay() == (1, 4)
    assert bench.source_values() == [b"junk %d" % offset for offset in (1, 2, 3, 4, 5)]


def test_a_replay_told_to_stop_finishes_its_chunk_and_says_what_is_left(bench: Bench, small_chunks: None) -> None:
    bench.send(*letters(1, 2, 3, 4, 5))
    stop: list[int] = []
    done = replay_letters(
        bench.settings, ALL, FixedClock(), stopping=lambda: bool(stop), on_progress=lambda *_: stop.append(1)
    )
    assert done.result is not None
    assert (done.result.sent, done.result.unsent) == (2, 3)
    assert bench.replay() == (3, 2)


def test_a_second_replay_in_the_same_directory_is_refused(bench: Bench) -> None:
    bench.send(*letters(1))
    bench.directory.mkdir()
    with (bench.directory / "replay.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"^another replay runs in .*: wait until it is done$"):
            bench.replay()
    assert bench.replay() == (1, 0)


@pytest.mark.parametrize("api", [PRODUCE_API, ADD_PARTITIONS_API, END_TRANSACTION_API])
@pytest.mark.parametrize("code", [KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
def test_a_replay_that_another_machine_took_over_says_so(bench: Bench, api: int, code: int) -> None:
    bench.send(*letters(1, 2))
    bench.broker.fail_requests(api, [code])
    with pytest.raises(DeliveryError, match=r"^another replay of market\.crypto\.trades has taken over"):
        bench.replay()


def test_a_commit_that_is_answered_late_is_asked_for_again(bench: Bench) -> None:
    bench.send(*letters(1))
    bench.broker.fail_requests(END_TRANSACTION_API, [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, -195])
    assert bench.replay() == (1, 0)
    assert bench.replay() == (0, 1)
    assert bench.source_values() == [b"junk 1"]


def test_a_broker_that_forbids_transactions_refuses(bench: Bench) -> None:
    bench.send(*letters(1))
    bench.broker.fail_requests(INIT_PRODUCER_ID_API, [KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED])
    with pytest.raises(RefusedError, match=r"^beginning a replay of market\.crypto\.trades: "):
        bench.replay()
    assert bench.source() == []


def test_a_letter_too_large_to_go_back_stays_one_and_holds_nobody_up(bench: Bench) -> None:
    keep(bench.directory, *letters(1), *letters(2, value=bytes(10_000_000)), *letters(3), max_bytes=20_000_000)
    done = replay_letters(bench.settings, ALL, FixedClock())
    assert done.result is not None
    assert (done.result.sent, done.result.unsent) == (2, 0)
    (refusal,) = done.result.refused
    assert (refusal.source, refusal.reason) == (
        f"{CRYPTO_TRADES}/1/2",
        "Unable to produce message: Broker: Message size too large",
    )
    assert bench.source_values() == [b"junk 1", b"junk 3"]
    assert [kept.replayed_at_ns is None for kept in bench.letters()] == [False, True, False]


def test_when_the_broker_refuses_a_message_the_rest_is_sent_without_it(bench: Bench) -> None:
    bench.send(*letters(1))
    bench.broker.fail_requests(PRODUCE_API, [KafkaError.MSG_SIZE_TOO_LARGE])
    done = replay_letters(bench.settings, ALL, FixedClock())
    assert done.result is not None
    assert (done.result.sent, [refusal.source for refusal in done.result.refused]) == (0, [f"{CRYPTO_TRADES}/1/1"])
    assert bench.replay() == (1, 0)


def test_a_broker_that_goes_away_is_a_delivery_error_and_the_next_replay_sends_the_rest(
    bench: Bench, small_chunks: None
) -> None:
    bench.send(*letters(1, 2, 3, 4))
    impatient = bench.settings.kafka.model_copy(update={"delivery_timeout_ms": 1_000})
    settings = bench.settings.model_copy(update={"kafka": impatient})
    with pytest.raises(DeliveryError, match=r"^the replay of market\.crypto\.trades stopped, .*; run it again$"):
        replay_letters(settings, ALL, FixedClock(), on_progress=lambda *_: bench.broker.go_down())
    bench.broker.come_up()
    assert bench.replay() == (2, 2)
    assert bench.source_values() == [b"junk %d" % offset for offset in (1, 2, 3, 4)]


def test_a_topic_the_broker_does_not_have_is_named(bench: Bench) -> None:
    keep(bench.directory, *letters(1, topic="market.equities.quotes"))
    with pytest.raises(UnavailableError, match=r"the broker has no topic market\.equities\.quotes"):
        bench.replay()


def test_without_a_broker_nothing_is_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2.ingestion.dead_letter_log.ANSWER_TIMEOUT_SECONDS", 0.2)
    settings = bench.settings.model_copy(update={"kafka": kafka_settings(CLOSED_PORT)})
    with pytest.raises(UnavailableError, match="no answer from"):
        replay_letters(settings, ALL, FixedClock())
    assert not bench.directory.exists()


def test_a_replayed_record_becomes_a_row_and_a_rejected_one_a_letter_that_knows_its_origin(
    stage: Stage, tmp_path: Path
) -> None:
    """As after an outage of the registry: of two letters one can be decoded now."""
    stage.settings = stage.settings.model_copy(
        update={"dead_letters": DeadLetterSettings(directory=tmp_path / "dead-letters")}
    )
    bench = Bench(stage.broker, stage.settings)
    stage.produce(*trades(1, 2))
    stage.take_in(2)
    good, bad = letters(50, partition=0, value=encoded(trade(3, 3))), letters(51, partition=0)
    bench.send(*good, *bad)
    assert bench.replay() == (2, 0)
    end = max(message.offset() or 0 for message in bench.source()) + 1
    with stage.running(stage.consumer()) as run:
        run.wait_until(lambda: stage.next_offsets()[0] >= end)
    assert stage.session_numbers() == [1, 2, 3]
    newest, restored, rejected_again = bench.letters()
    assert (restored.letter.offset, restored.came_back) == (50, False)
    assert (rejected_again.letter.offset, rejected_again.came_back) == (51, True)
    assert (newest.letter.value, newest.replay_of) == (b"junk 51", rejected_again.letter.source)
    assert bench.replay() == (1, 2)
    last = bench.source()[-1]
    assert [header[1] for header in last.headers() or [] if header[0] == HEADER_REPLAY_OF] == [
        newest.letter.source.encode()
    ]


def test_what_decoding_says_now_is_told_for_each_stage(bench: Bench) -> None:
    sound = judge_now(bench.settings, *letters(1, value=encoded(trade(1, 1))))
    assert (sound.error_class, sound.record is not None and sound.record["symbol"]) == (None, "BTCUSDT")
    broken = judge_now(bench.settings, *letters(2))
    assert (broken.stage, broken.error_class, broken.record) == ("decode", "not_framed", None)
    wrong = judge_now(bench.settings, *letters(3, value=encoded(trade(1, 1, price="-1"))))
    assert (wrong.stage, wrong.error_class) == ("validate", "price_not_positive")
    foreign = judge_now(bench.settings, *letters(4, topic="market.crypto.bars"))
    assert (foreign.stage, foreign.error_class) == ("decode", "unknown_data_type")


def test_a_letter_is_found_by_its_source_and_one_that_is_not_there_is_told(bench: Bench) -> None:
    bench.send(*letters(1, 2))
    keep(bench.directory, *letters(2, value=b"another cluster's"))
    assert [kept.letter.value for kept in find_letters(bench.settings, CRYPTO_TRADES, 1, 1)] == [b"junk 1"]
    assert {kept.letter.value for kept in find_letters(bench.settings, CRYPTO_TRADES, 1, 2)} == {
        b"junk 2",
        b"another cluster's",
    }
    with pytest.raises(UsageError, match=r"there is no dead letter market\.crypto\.trades/1/3: `k2 dlq list`"):
        find_letters(bench.settings, CRYPTO_TRADES, 1, 3)
