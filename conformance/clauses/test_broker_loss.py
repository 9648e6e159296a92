"""What the brokers acknowledged stays, and once, while brokers die, freeze, return and lose their answers.

An acknowledged record MUST survive the loss of its partition's leader (PRO-1b): the acknowledgement is that of all
in-sync replicas, and where fewer are there than are demanded there MUST be none (PRO-1d). A record that is sent again
because its acknowledgement was lost MUST add no message to the log (PRO-1c). While brokers fail one after the other and
return, no acknowledged record may be lost on its way into the table, or be there twice (CON-1c).
"""

import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.bulk import bulk_view
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.log_tap import read_all
from conformance.drivers.observing import observe_tables
from conformance.drivers.outages import outage
from conformance.drivers.producing import ACKNOWLEDGED, Producing
from conformance.drivers.row_comparison import rows_out_of_order
from conformance.drivers.server_faults import kill, paused, start
from conformance.drivers.silence import comes_true
from conformance.drivers.steady_feed import SteadyFeed
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Outage, Stack
from conformance.stacks.containers.addresses import BROKERS
from conformance.stacks.supervisor import RestartPolicy, Supervisor
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

# So many keys that every partition has some.
SYMBOLS = tuple(f"COIN{number:02d}" for number in range(24))
SOME = 400
PATIENT_MS, IMPATIENT_MS = 90_000, 4_000
FROZEN_SECONDS = 1.5
EFFECT_SECONDS = 20.0
CUTS = by_profile(smoke=3, full=30)
ROUNDS = by_profile(smoke=1, full=5)
RATE_PER_SECOND = 200
AWAY_SECONDS = 3.0
RESTARTS = RestartPolicy(first_wait_seconds=0.5, longest_wait_seconds=2.0)
BATCH_ROWS = 2_000
# The order of the rows is told by the snapshots that brought them.
EVERY_SNAPSHOT = {"K2_STORAGE__SNAPSHOTS_KEPT": "20000"}


@pytest.mark.clause(
    name="broker_loss/leader_killed",
    claims=("PRO-1b", "HAR-3b"),
    checker="facts",
    title="What was acknowledged is still there when its partition's leader is killed while the others lag behind",
    minimum_samples=2 * SOME,
    remedy="see acks in producer_configuration, k2/ingestion/kafka.py, and KAFKA_MIN_INSYNC_REPLICAS of the brokers",
)
@pytest.mark.timeout(300)
def test_an_acknowledged_record_survives_the_loss_of_its_leader(stack: Stack, clause: ClauseRun) -> None:
    servers, topic = stack.servers(), stack.topic("crypto", TRADE.data_type)
    with clause.history(seed=91) as history:
        records, producing = trades(91), Producing(stack, delivery_timeout_ms=PATIENT_MS)
        with producing.producer as producer:
            producing.send(islice(records, SOME))
            record_fact(history, "open before the fault", 0, producer.flush)
            victim = servers.leaders(topic)[0]
            others = [name for name in BROKERS if name != victim]
            # Frozen, the others copy nothing: what the leader acknowledged by itself would be gone with it.
            with paused(stack, history, *others):
                producing.send(islice(records, SOME))
                serve(producing, FROZEN_SECONDS)
                kill(stack, history, victim)
            try:
                record_fact(history, "open after the leader is dead", 0, producer.flush, PATIENT_MS / 1e3)
                left = comes_true(lambda: not led_by(stack, victim), PATIENT_MS / 1e3)
                record_fact(history, "the dead broker leads nothing any more", True, lambda: left)
                judge_log(history, "while it is dead", producing, stack)
            finally:
                start(stack, history, victim)
        record_fact(history, "outcomes", {ACKNOWLEDGED: 2 * SOME}, lambda: dict(producing.outcomes()), samples=2 * SOME)
        judge_log(history, "when it is back", producing, stack)
    clause.judge()


@pytest.mark.clause(
    name="broker_loss/answers_lost",
    claims=("PRO-1c",),
    checker="facts",
    title="Records that are sent again because their acknowledgement was lost lie in the log once",
    minimum_samples=CUTS * SOME,
    remedy="see enable.idempotence in producer_configuration, k2/ingestion/kafka.py",
)
@pytest.mark.timeout(600)
def test_lost_acknowledgements_add_no_message(stack: Stack, clause: ClauseRun) -> None:
    servers, topic = stack.servers(), stack.topic("crypto", TRADE.data_type)

    def in_the_log() -> int:
        return len(read_all(servers.bootstrap_servers(), [topic]))

    with clause.history(seed=92) as history:
        records, producing = trades(92), Producing(stack, delivery_timeout_ms=PATIENT_MS)
        with producing.producer as producer:
            producing.send(islice(records, SOME))
            record_fact(history, "open before the fault", 0, producer.flush)
            for cut in range(1, CUTS + 1):
                with outage(stack, history, Outage.ANSWERS_LOST):
                    producing.send(islice(records, SOME))
                    serve(producing, FROZEN_SECONDS)
                    # The fault bit: the brokers have what they could not acknowledge.
                    bitten = comes_true(lambda: in_the_log() > acknowledged(producing), EFFECT_SECONDS)
                    record_fact(history, f"cut {cut}: taken without acknowledgement", True, lambda found=bitten: found)
                record_fact(history, f"cut {cut}: open afterwards", 0, producer.flush, PATIENT_MS / 1e3)
        sent = (1 + CUTS) * SOME
        record_fact(history, "outcomes", {ACKNOWLEDGED: sent}, lambda: dict(producing.outcomes()), samples=CUTS * SOME)
        record_fact(history, "messages in the log", sent, in_the_log)
        judge_log(history, "in the end", producing, stack)
    clause.judge()


@pytest.mark.clause(
    name="broker_loss/too_few_replicas",
    claims=("PRO-1d",),
    checker="facts",
    title="With two of three replicas gone nothing is acknowledged, and with all back everything is",
    minimum_samples=2 * SOME,
    remedy="see acks in producer_configuration, k2/ingestion/kafka.py, and KAFKA_MIN_INSYNC_REPLICAS of the brokers",
)
@pytest.mark.timeout(300)
def test_with_two_replicas_gone_nothing_is_acknowledged(stack: Stack, clause: ClauseRun) -> None:
    servers, topic = stack.servers(), stack.topic("crypto", TRADE.data_type)
    with clause.history(seed=93) as history:
        records, producing = trades(93), Producing(stack, delivery_timeout_ms=IMPATIENT_MS)
        with producing.producer as producer:
            producing.send(islice(records, SOME))
            record_fact(history, "open before the fault", 0, producer.flush)
            survivor = servers.leaders(topic)[0]
            gone = [name for name in BROKERS if name != survivor]
            try:
                for name in gone:
                    kill(stack, history, name)
                producing.send(islice(records, SOME))
                record_fact(history, "open after every try", 0, producer.flush, 2 * IMPATIENT_MS / 1e3)
                ended = {ACKNOWLEDGED: SOME, "Local: Message timed out": SOME}
                record_fact(history, "with two gone", ended, lambda: dict(producing.outcomes()), samples=SOME)
            finally:
                for name in gone:
                    start(stack, history, name)
        again = Producing(stack, delivery_timeout_ms=PATIENT_MS)
        with again.producer:
            again.send(islice(records, SOME))
            record_fact(history, "open once all are back", 0, again.producer.flush, PATIENT_MS / 1e3)
        record_fact(history, "with all back", {ACKNOWLEDGED: SOME}, lambda: dict(again.outcomes()), samples=SOME)
        judge_log(history, "first", producing, stack)
        judge_log(history, "again", again, stack)
    clause.judge()


@pytest.mark.clause(
    name="broker_loss/all_in_turn",
    claims=("CON-1c", "HAR-3b"),
    checker="delivery",
    title="Each broker is killed and returns under feed and consumer: all that was acknowledged is in the table once",
    minimum_samples=10 * RATE_PER_SECOND,
    remedy="see k2/ingestion/log_reader.py for the consumer's client, docs/error-classes.md for what it tries again",
)
@pytest.mark.timeout(900)
def test_brokers_that_fail_and_return_cost_no_acknowledged_record(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    order = clause.part(
        "broker_loss/order", ("CON-1d",), "facts", "After each broker died the rows of a key stand in log order", 1
    )
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack:
        servers = stack.servers()
        assert servers.names()
        with clause.history(seed=94) as history:
            with Supervisor(
                lambda: stack.start_consumer("trades", None, EVERY_SNAPSHOT), RESTARTS, random.Random(94)
            ) as supervisor:
                with SteadyFeed(stack, trades(94), RATE_PER_SECOND) as feed:
                    for broker in BROKERS * ROUNDS:
                        kill(stack, history, broker)
                        time.sleep(AWAY_SECONDS)
                        start(stack, history, broker)
                    fed = feed.finish()
                wait_until_drained(stack, history, fed.acknowledged_ends(), supervisor.is_watching)
            for end in supervisor.ends:
                attributes = {"exit_code": end.exit_code, "ran_seconds": end.ran_seconds}
                history.operation("consumer", "end", "ok", attributes=attributes)
            history.observe("fed", fed.table("trades"), "trades")
            observe_tables(history, stack, ["trades"])
        with order.history(seed=94) as history:
            rows, snapshots = bulk_view(stack)
            record_fact(history, "rows out of order", 0, rows_out_of_order, rows, snapshots, samples=rows.num_rows)
    order.judge()
    clause.judge()


def judge_log(history: HistoryWriter, when: str, producing: Producing, stack: Stack) -> None:
    """What must be true of the log, whatever happened to a broker."""
    messages = read_all(stack.servers().bootstrap_servers(), [stack.topic("crypto", TRADE.data_type)])
    record_fact(history, f"{when}: records without one fate", [], producing.without_one_fate)
    record_fact(history, f"{when}: acknowledged and not at their place", [], producing.not_at_their_place, messages)


def trades(seed: int) -> Iterator[FeedRecord]:
    """Trades without end, no two alike."""
    settings = SyntheticSettings(seed=seed, records=None, trade_share=1.0, duplicate_rate=0.0, symbols=SYMBOLS)
    return iter(SyntheticExchange(settings))


def serve(producing: Producing, seconds: float) -> None:
    """Have the producer do its part for a while."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        producing.producer.poll()
        time.sleep(0.02)


def acknowledged(producing: Producing) -> int:
    """Records acknowledged so far."""
    producing.producer.poll()
    return producing.outcomes().get(ACKNOWLEDGED, 0)


def led_by(stack: Stack, broker: str) -> list[int]:
    """Partitions that a broker leads."""
    found = stack.servers().leaders(stack.topic("crypto", TRADE.data_type))
    return [partition for partition, leader in found.items() if leader == broker]
