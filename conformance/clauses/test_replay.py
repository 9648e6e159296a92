"""Dead letters can be sent back, and what can be decoded by then is restored, once.

`k2 dlq replay` MUST restore every record whose cause is gone, once, however often it is run and whenever it is killed;
what still cannot be a row MUST be a dead letter again (DLQ-3b). The listing MUST tell what became of each (DLQ-3a).
"""

import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.curable import ends_of
from conformance.drivers.dlq_command import dlq, replay, start_replay_to_be_killed
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.registered import require_packaged_registry
from conformance.drivers.replaying import (
    Sent,
    letter_messages,
    marked,
    observe_replay,
    send,
    source_messages,
)
from conformance.drivers.sequences import reported_gaps
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Stack
from conformance.stacks.schema_registry import SchemaRegistryServer
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

PRODUCE_API_KEY, TOO_LARGE = 0, 10
# Twelve keys, so that every partition has some.
SYMBOLS = tuple(f"COIN{number:02d}" for number in range(12))
CURABLE = by_profile(smoke=240, full=8_000)
CURABLE_EVERY, POISON_EVERY = 5, 20
RECORDS = CURABLE * CURABLE_EVERY
POISON = RECORDS // POISON_EVERY
KILLED_CURABLE = by_profile(smoke=2_000, full=10_000)
KILLED_CURABLE_EVERY = 2
KILLS = by_profile(smoke=2, full=10)
# A transaction takes 500 letters and some ten milliseconds.
LATEST_MARK, LONGEST_LIFE_MS = 700, 20
DEATH_TIMEOUT_SECONDS = 60


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="replay/after_the_fix",
    claims=("DLQ-3b",),
    checker="replay",
    title="Once a schema is registered, a replay restores each record written with it once; a second one sends nothing",
    minimum_samples=CURABLE,
    remedy="see k2/ingestion/replay.py and fold in k2/ingestion/dead_letter_inventory.py",
)
def test_a_replay_restores_what_can_be_decoded_by_then(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    listing = clause.part(
        "replay/listed",
        ("DLQ-3a",),
        "facts",
        "After a replay each letter is listed with what became of it",
        minimum_samples=CURABLE + 2 * POISON,
    )
    records = SyntheticExchange(trades(92, RECORDS))
    with (
        SchemaRegistryServer() as registry,
        new_stack(tmp_path) as stack,
        clause.history(seed=92) as history,
        listing.history(seed=92) as facts,
    ):
        require_packaged_registry(stack)
        sent = send(stack, records, newer_every=CURABLE_EVERY, poison_every=POISON_EVERY)
        # One of the requests that carry letters is refused, so files keep some.
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[TOO_LARGE])
        consumer = stack.start_consumer("trades", environment=registry.settings)
        wait_until_drained(stack, history, sent.ends())
        consumer.stop()
        registry.register_newer()
        replay(history, stack, must_send=sent.letters)
        replay(history, stack, must_send=0)
        stack.start_consumer("trades", environment=registry.settings)
        wait_until_drained(stack, history, ends_of(source_messages(stack)))
        record_listing(facts, stack, sent)
        # What came back is a letter that was never sent; all others were.
        replay(history, stack, must_send=sent.poisoner.sent)
        wait_until_drained(stack, history, ends_of(source_messages(stack)))
        observe_replay(history, stack, sent)
        record_fact(facts, "numbers still missing", [], reported_gaps, stack.start_api(), "trades")
    clause.judge()
    listing.judge()


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="replay/killed",
    claims=("DLQ-3b",),
    checker="replay",
    title="A replay killed again and again beside a running consumer restores each record once in the end",
    minimum_samples=KILLED_CURABLE,
    remedy="see k2/ingestion/replay.py: messages and marks go in one transaction, messages first",
)
def test_a_killed_replay_is_taken_up_where_it_stopped(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    records = SyntheticExchange(trades(93, KILLED_CURABLE * KILLED_CURABLE_EVERY))
    with (
        SchemaRegistryServer() as registry,
        new_stack(tmp_path) as stack,
        clause.history(seed=93, may_repeat_messages=True, expected_kills=KILLS) as history,
    ):
        require_packaged_registry(stack)
        sent = send(stack, records, newer_every=KILLED_CURABLE_EVERY, poison_every=0)
        stack.start_consumer("trades", environment=registry.settings)
        wait_until_drained(stack, history, sent.ends())
        registry.register_newer()
        kill_replays(stack, history)
        replay(history, stack, must_send=sent.letters - marked(letter_messages(stack)))
        replay(history, stack, must_send=0)
        wait_until_drained(stack, history, ends_of(source_messages(stack)))
        observe_replay(history, stack, sent)
    clause.judge()


def kill_replays(stack: Stack, history: HistoryWriter) -> None:
    """Replays that are killed, in turn when they write a mark and after some time."""
    generator = random.Random(93)
    for number in range(KILLS):
        at_mark, after_ms = generator.randint(1, LATEST_MARK), generator.uniform(0, LONGEST_LIFE_MS)
        plan = ("--after-ms", str(after_ms)) if number % 2 else ("--at-mark", str(at_mark))
        with history.invoke("harness", "kill", {"plan": list(plan)}) as invocation:
            exit_signal = -start_replay_to_be_killed(stack, plan).wait(DEATH_TIMEOUT_SECONDS)
            counts = {"source_messages": len(source_messages(stack)), "marked": marked(letter_messages(stack))}
            invocation.attributes |= {"exit_signal": exit_signal, **counts}


def record_listing(facts: HistoryWriter, stack: Stack, sent: Sent) -> None:
    """What is listed once replayed messages were taken in: some restored, some dead letters again."""
    curable, poison = sent.newer.sent, sent.poisoner.sent
    listing = dlq(stack, "list", "--json")
    expected = {"replayed": curable, "replayed, came back": poison, "replay of another": poison}
    record_fact(facts, "exit code of the listing", 0, lambda: listing.exit_code)
    record_fact(facts, "what became of them", expected, lambda: fates(listing.objects), samples=curable + 2 * poison)
    kept = {place.partition(" ")[0] for letter in listing.objects for place in letter["kept_in"]}
    record_fact(facts, "kept in", ["file", "topic"], lambda: sorted(kept))
    planned = dlq(stack, "replay", "--json", "--dry-run").objects[0]
    record_fact(facts, "a dry run would send", poison, lambda: planned["to_send"])


def fates(letters: list[dict[str, Any]]) -> Mapping[str, int]:
    """How many letters are listed with each fate."""
    return Counter(
        ", ".join(
            [
                *(["replay of another"] if letter["replay_of"] else []),
                *(["replayed"] if letter["replayed_at"] else []),
                *(["came back"] if letter["came_back"] else []),
            ]
        )
        for letter in letters
    )


def trades(seed: int, records: int) -> SyntheticSettings:
    """Trades of several keys without a fault: every number that is missing is a letter's."""
    return SyntheticSettings(
        seed=seed, records=records, symbols=SYMBOLS, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0
    )
