"""What cannot be a row is a dead letter, whole.

Every message that cannot be decoded or breaks a rule MUST be in the dead letter topic with its original bytes and
headers that say where it came from and why (DLQ-1), also where the consumer was killed before its commit; none MUST be
in the table, and the good records around it MUST be.
"""

import itertools
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.feeding import Fed, feed_records, latest, wait_until_drained
from conformance.drivers.observing import observe_tables
from conformance.drivers.poisoning import COPIES, Poisoner, letter_table, poisons, read_letters
from conformance.stacks.base import SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

GOOD_RECORDS = 2_000
DEATH_TIMEOUT_SECONDS = 60
PRODUCE_API_KEY = 0
REQUEST_TIMED_OUT = 7


@pytest.mark.clause(
    name="dead_letters",
    claims=("DLQ-1a", "CON-5b"),
    checker="dead_letters",
    title="Each of twelve kinds of bad message is a dead letter with its bytes and origin, and its neighbours are rows",
    minimum_samples=12 * COPIES,
    remedy="see k2/records/decode.py for what is rejected and k2/ingestion/dead_letters.py for what is kept of it",
)
def test_every_bad_message_becomes_a_dead_letter_and_no_row(stack: Stack, clause: ClauseRun) -> None:
    follow_poison(stack, clause, None)


@pytest.mark.clause(
    name="dead_letters/killed_before_the_commit",
    claims=("DLQ-1b",),
    checker="dead_letters",
    title="A consumer killed between dead letter and commit loses no reject",
    minimum_samples=12 * COPIES,
    remedy="see the order of REJECT and COMMIT in k2/ingestion/consumer.py",
)
def test_a_kill_between_dead_letter_and_commit_loses_no_reject(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    follow_poison(stack, clause, SignalPlan("REJECT", 1, tmp_path / "kills.jsonl"))


@pytest.mark.clause(
    name="dead_letters/refused_at_first",
    claims=("DLQ-1c", "CON-5b"),
    checker="dead_letters",
    title="Dead letters whose broker refuses at first are complete, though the consumer dies right after its commit",
    minimum_samples=12 * COPIES,
    remedy="see DeadLetterQueue.send: a batch's acknowledgements must be awaited before its commit",
)
def test_dead_letters_are_complete_although_their_broker_refuses_at_first(
    stack: Stack, clause: ClauseRun, tmp_path: Path
) -> None:
    follow_poison(stack, clause, SignalPlan("COMMIT", 1, tmp_path / "kills.jsonl"), refusals=4)


def follow_poison(stack: Stack, clause: ClauseRun, plan: SignalPlan | None, refusals: int = 0) -> None:
    """Send bad messages between good ones, consume them, and judge.

    A plan kills the first consumer; the broker answers the consumer's first requests to produce with a passing error.
    """
    planned = list(poisons())
    with clause.history(required_kinds=sorted({poison.kind for poison in planned})) as history:
        exchange = SyntheticExchange(
            SyntheticSettings(
                seed=5, records=GOOD_RECORDS, trade_share=1.0, duplicate_rate=0.0, gap_rate=0.0, reorder_rate=0.0
            )
        )
        records = iter(exchange)
        before = feed_records(stack, itertools.islice(records, GOOD_RECORDS // 2))
        with Poisoner(stack) as poisoner:
            for poison in planned:
                poisoner.send(poison)
        after = feed_records(stack, records)
        fed = Fed([*before.items, *after.items])
        if refusals:
            codes = [REQUEST_TIMED_OUT] * refusals
            stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=codes)
        if plan is not None:
            # The step is one of a batch that holds bad messages: there is only one, whatever comes when.
            one_batch = {
                "K2_CONSUMER__BATCH_ROWS": str(GOOD_RECORDS + len(planned)),
                "K2_CONSUMER__BATCH_SECONDS": str(DEATH_TIMEOUT_SECONDS / 2),
            }
            status = stack.start_consumer("trades", plan, one_batch).wait(DEATH_TIMEOUT_SECONDS)
            history.operation("harness", "kill", "ok", attributes={"step": plan.after_step, "exit_signal": -status})
        stack.start_consumer("trades")
        ends = latest(fed.acknowledged_ends(), poisoner.ends())
        wait_until_drained(stack, history, ends)
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letter_table(read_letters(stack, poisoner.places())))
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    clause.judge()
