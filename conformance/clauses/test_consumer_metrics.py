"""What a consumer exports is what it did.

Messages, batches, commits, retries and rebalances in the metrics MUST equal what happened (CON-4): counted once
although commits were not answered, refused ones told apart from failed ones, over consumers that joined a group and
left it.
"""

import itertools
import signal
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.consumer_metrics import WatchedConsumer, event_table, overtake, unanswered_commits
from conformance.drivers.feeding import Place, feed_records, latest, table_offsets, wait_until_drained
from conformance.drivers.observing import observe_tables
from conformance.drivers.poisoning import Poisoner, letter_table, poisons, read_letters
from conformance.drivers.silence import METRICS, effect_of_freeze, wait_until
from conformance.history import HistoryWriter
from conformance.stacks.base import CutPlan, NewStack, SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

DATA_TYPE, PARTITIONS, BATCH_ROWS, CUTS = "trades", 4, 250, 2
RECORDS = 1_200
ENVIRONMENT = {
    **METRICS,
    "K2_CONSUMER__ASSET_CLASSES": '["crypto"]',
    "K2_CONSUMER__BATCH_SECONDS": "0.2",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.05",
}
WAIT_SECONDS = 60.0
MUST_OCCUR = ["assigned", "lost", "retried", "refused", "failed"]


@pytest.mark.clause(
    name="consumer_metrics",
    claims=("CON-4a", "CON-5c"),
    checker="consumer_metrics",
    title="Exported messages, batches, commits, retries and rebalances of two consumers are those that happened",
    minimum_samples=3 * RECORDS,
    remedy="see MarketDataConsumer._record, _commit and _rewind",
)
def test_what_consumers_export_is_what_happened(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    with (
        new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=71, data_type=DATA_TYPE, must_occur=MUST_OCCUR) as history,
    ):
        feed, cuts = Feed(stack, history), tmp_path / "cuts.jsonl"
        first = WatchedConsumer(stack.start_consumer(DATA_TYPE, CutPlan(CUTS, cuts), ENVIRONMENT))
        feed.until_drained(RECORDS, bad=12)
        asleep = SignalPlan("WRITE", 1, tmp_path / "sleep.jsonl", "SIGSTOP")
        second = WatchedConsumer(stack.start_consumer(DATA_TYPE, asleep, ENVIRONMENT))
        wait_until(lambda: share(first, second), WAIT_SECONDS, "the second consumer got no partition")
        feed.send(BATCH_ROWS // 2)
        wait_until(lambda: effect_of_freeze(second.process) != "", WAIT_SECONDS, "the second consumer never slept")
        feed.overtake(second)
        feed.until_drained(RECORDS)
        second.scrape(history)
        second.process.stop()
        wait_until(lambda: len(first.held_places()) == PARTITIONS, WAIT_SECONDS, "the first did not get all back")
        feed.until_drained(RECORDS, bad=5)
        first.scrape(history)
        first.events["failed"] = unanswered_commits(cuts)
        history.observe("events", event_table({one.member: one.events for one in (first, second)}))
        history.observe("dead_letters", letter_table(read_letters(stack, feed.bad_places)))
        observe_tables(history, stack, [DATA_TYPE])
    clause.judge()


class Feed:
    """Good records, and bad messages beside them."""

    def __init__(self, stack: Stack, history: HistoryWriter) -> None:
        self._stack = stack
        self._history = history
        self._records = iter(SyntheticExchange(SyntheticSettings(seed=71, trade_share=1.0)))
        self._bad = poisons()
        self._ends: dict[Place, int] = {}
        self.bad_places: set[tuple[int, int]] = set()

    def send(self, count: int, bad: int = 0) -> None:
        """Send the next records and bad messages."""
        ends = feed_records(self._stack, itertools.islice(self._records, count)).acknowledged_ends()
        with Poisoner(self._stack) as poisoner:
            for poison in itertools.islice(self._bad, bad):
                poisoner.send(poison)
        self.bad_places |= set(poisoner.places())
        self._ends = latest(self._ends, ends, poisoner.ends())

    def until_drained(self, count: int, bad: int = 0) -> None:
        """The same, and wait until the table holds all of it."""
        self.send(count, bad)
        wait_until_drained(self._stack, self._history, self._ends)

    def overtake(self, sleeper: WatchedConsumer) -> None:
        """Commit past one message in each partition of a consumer that sleeps and has some in hand, and wake it."""
        held, ends = table_offsets(self._stack), self._ends
        overtake(self._stack, self._history, {at for at in sleeper.held_places() if ends.get(at, 0) > held.get(at, 0)})
        sleeper.process.signal(signal.SIGCONT)


def share(first: WatchedConsumer, second: WatchedConsumer) -> bool:
    """Whether both hold partitions, and no partition is left."""
    held = (len(first.held_places()), len(second.held_places()))
    return min(held) > 0 and sum(held) == PARTITIONS
