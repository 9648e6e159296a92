"""Consumers of one group share the partitions of a table's topics; who joins, leaves, dies or sleeps costs nothing.

Members MUST lose and repeat no acknowledged record, whatever the group does meanwhile (CON-7), and the rows of a key
MUST stand in the order of the log (CON-1). A member that slept past its session MUST be refused when it goes on with
what it had in hand. The sequence state MUST follow its partition to its next owner: every verdict is the one that a
single consumer, never disturbed, would have given (SEQ-6).
"""

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.bulk import bulk_view
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.groups import ASSIGNED, Group, wait_seconds
from conformance.drivers.observing import observe_tables
from conformance.drivers.row_comparison import rows_out_of_order
from conformance.drivers.sequences import stored_trades
from conformance.drivers.steady_feed import SteadyFeed
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.consumer import consumer_group

SYMBOLS = tuple(f"COIN{number:02d}" for number in range(16))
PARTITIONS = 6
RATE_PER_SECOND = by_profile(smoke=250, full=500)
MEMBERS = 3
SLEEPS = by_profile(smoke=2, full=50)
LEAST_RECORDS = 1_500
BATCH_ROWS = 2_000
ASLEEP_AT_BATCH = 2
MEMBER = {
    "K2_RETRY__ATTEMPTS": "10",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.1",
    # One topic alone, so that there is work in every partition.
    "K2_CONSUMER__ASSET_CLASSES": '["crypto"]',
    # The order of the rows is told by the snapshots that brought them.
    "K2_STORAGE__SNAPSHOTS_KEPT": "20000",
}


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="groups/members",
    claims=("CON-7a",),
    checker="delivery",
    title="Members of a group join, leave, die and sleep under a feed: each record is in the table once",
    minimum_samples=LEAST_RECORDS,
    remedy="see k2/ingestion/assignment.py for what a member takes over, TableWriter.commit for what refuses it",
)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_come_and_go_lose_and_repeat_nothing(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack, protocol: str
) -> None:
    with new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack:
        environment = {**MEMBER, **ruled_by(protocol, stack)}
        members = clause.part("groups/ownership", ("CON-7a",), "facts", "Every partition has one owner, and a late "
                              "one is refused", 6)  # fmt: skip
        with clause.history(seed=101, expected_kills=["any"]) as history, members.history(seed=101) as seen:
            with (
                SteadyFeed(stack, trades(101), RATE_PER_SECOND) as feed,
                Group(stack, history, PARTITIONS, environment) as group,
            ):
                come_and_go(group, seen, tmp_path)
                fed = feed.finish()
                wait_until_drained(stack, history, fed.acknowledged_ends(), group.is_alive)
            statuses = [status for name, status in group.ended.items() if status != -9]
            record_fact(seen, "exit statuses of those that left", [0] * len(statuses), lambda: statuses)
            history.observe("fed", fed.table("trades"), "trades")
            observe_tables(history, stack, ["trades"])
        judge_order_and_verdicts(clause, stack, "groups/members", 101)
    members.judge()
    clause.judge()


@pytest.mark.timeout(3_600)
@pytest.mark.clause(
    name="groups/sleepers",
    claims=("CON-7a",),
    checker="delivery",
    title="Three members take turns in sleeping past their session under a feed: each record is in the table once",
    minimum_samples=LEAST_RECORDS,
    remedy="see k2/ingestion/assignment.py for what a member takes over, TableWriter.commit for what refuses it",
)
def test_members_that_sleep_past_their_session_lose_and_repeat_nothing(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    generator = random.Random(102)
    with new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack:
        with clause.history(seed=102) as history:
            with (
                SteadyFeed(stack, trades(102), RATE_PER_SECOND) as feed,
                Group(stack, history, PARTITIONS, MEMBER) as group,
            ):
                names = [group.join() for _ in range(MEMBERS)]
                group.settle()
                for number in range(SLEEPS):
                    sleeper = names[number % MEMBERS]
                    # Anywhere in a batch or between two.
                    time.sleep(generator.uniform(0.0, 0.5))
                    group.put_to_sleep(sleeper)
                    group.settle()
                    group.wake(sleeper)
                    group.settle()
                fed = feed.finish()
                wait_until_drained(stack, history, fed.acknowledged_ends(), group.is_alive)
            clause.note(f"{SLEEPS} sleeps, {group.refusals()} refusals, {group.events(ASSIGNED)} assignments")
            history.observe("fed", fed.table("trades"), "trades")
            observe_tables(history, stack, ["trades"])
        judge_order_and_verdicts(clause, stack, "groups/sleepers", 102)
    clause.judge()


def ruled_by(protocol: str, stack: Stack) -> Mapping[str, str]:
    """Environment of members whose group is ruled by one of them, or by the brokers, who are told the session."""
    if protocol == "consumer":
        kafka = stack.settings.kafka
        group = consumer_group(stack.settings)
        stack.servers().set_session(group, kafka.session_timeout_ms, kafka.heartbeat_interval_ms)
    return {"K2_KAFKA__GROUP_PROTOCOL": protocol}


def come_and_go(group: Group, seen: HistoryWriter, tmp_path: Path) -> None:
    """Everything that can happen to members, one after the other."""
    first = group.join()
    record_fact(seen, "one member owns all", [first], lambda: list(group.settle()))
    second = group.join()
    sleeper = group.join(SignalPlan("WRITE", ASLEEP_AT_BATCH, tmp_path / "sleep.jsonl", "SIGSTOP"))
    group.wait_until_asleep(sleeper)
    # Its batch is written and not committed; the others take its partitions over and commit past it.
    record_fact(seen, "without the sleeper two own all", [first, second], lambda: list(group.settle()))
    wait_seconds(1.0)
    before = group.refusals()
    group.wake(sleeper)
    record_fact(seen, "with it three", [first, second, sleeper], lambda: list(group.settle()))
    record_fact(seen, "what it had in hand is refused", True, lambda: group.refusals() > before)
    group.leave(first)
    record_fact(seen, "after one left two own all", [second, sleeper], lambda: list(group.settle()))
    group.kill(second)
    record_fact(seen, "after one died one owns all", [sleeper], lambda: list(group.settle()))
    last = group.join()
    record_fact(seen, "a new one gets its share", [sleeper, last], lambda: list(group.settle()))


def judge_order_and_verdicts(clause: ClauseRun, stack: Stack, name: str, seed: int) -> None:
    """What the table says beyond that each record is there once."""
    order = clause.part(f"{name}_order", ("CON-1d",), "facts", "The rows of a key stand in log order", LEAST_RECORDS)
    with order.history(seed=seed) as history:
        rows, snapshots = bulk_view(stack)
        record_fact(history, "rows out of order", 0, rows_out_of_order, rows, snapshots, samples=rows.num_rows)
    order.judge()
    verdicts = clause.part(
        f"{name}_verdicts", ("SEQ-6c",), "sequence", "Each verdict is that of a consumer never disturbed", LEAST_RECORDS
    )
    with verdicts.history(seed=seed) as history:
        history.observe("verdicts", stored_trades(stack))
    verdicts.judge()


def trades(seed: int) -> Iterator[FeedRecord]:
    """Trades without end with gaps and late ones; none is sent twice, so that every number is in the table."""
    settings = SyntheticSettings(
        seed=seed, records=None, trade_share=1.0, gap_rate=0.01, reorder_rate=0.01, duplicate_rate=0.0, symbols=SYMBOLS
    )
    return iter(SyntheticExchange(settings))
