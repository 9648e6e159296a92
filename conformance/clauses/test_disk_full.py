"""A disk that is full stops a consumer, loses nothing, and is only waited for.

While the disk under the warehouse, or that of the dead letter files, takes nothing, a consumer MUST commit nothing that
it could not write, end with exit code 75 once its retries are used up, and go on where it was once there is room again
(HAR-3). Without a full disk the same run passes: the baseline.
"""

import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Place, feed_records, latest, wait_until_drained
from conformance.drivers.letter_files import letters_in_files
from conformance.drivers.log_tap import read_all
from conformance.drivers.observing import observe_tables
from conformance.drivers.outages import outage
from conformance.drivers.poisoning import Poisoner, letter_table, poisons, trades_topic
from conformance.drivers.silence import comes_true
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Outage, Stack
from conformance.stacks.small_disk import SmallDisk
from conformance.stacks.supervisor import RestartPolicy, Supervisor
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import dead_letter_topic

WAREHOUSE_BYTES, LETTERS_BYTES = 24 << 20, 1 << 20
RECORDS = 3_000
BATCH_ROWS = 500
DEATHS = 2
PATIENCE_SECONDS = 90.0
NO_SPACE = re.compile(r"No space left on device|ENOSPC|HTTP status 5\d\d|QuotaExceeded|InternalError", re.IGNORECASE)
HURRIED = {"K2_RETRY__FIRST_WAIT_SECONDS": "0.05", "K2_RETRY__LONGEST_WAIT_SECONDS": "0.1"}
RESTARTS = RestartPolicy(first_wait_seconds=0.2, longest_wait_seconds=1.0)
EXHAUSTED = 75
PRODUCE_API_KEY, REFUSED, ENDLESS = 0, 29, 5_000
PARTITIONS = 4
POISON_EVERY = 33


@pytest.mark.clause(
    name="disk_full/warehouse",
    claims=("HAR-3c",),
    checker="delivery",
    title="A full disk under the warehouse ends the consumer with 75; with room again each record is in the table once",
    minimum_samples=2 * RECORDS,
    remedy="see ENOSPC in docs/error-classes.md, and TableWriter._discard for what a failed batch leaves",
)
@pytest.mark.parametrize("full", [False, True], ids=["baseline", "full"])
@pytest.mark.timeout(600)
def test_a_full_warehouse_is_waited_for(clause: ClauseRun, tmp_path: Path, new_stack: NewStack, full: bool) -> None:
    facts = clause.part(
        "disk_full/warehouse_facts", ("HAR-3c",), "facts", "A consumer that meets a full disk says so", 2
    )
    stack = new_stack(tmp_path, batch_rows=BATCH_ROWS)
    stack.limit_warehouse(WAREHOUSE_BYTES)
    with stack, clause.history(seed=131) as history, facts.history(seed=131) as seen:
        first = feed_records(stack, trades(131))
        with Supervisor(
            lambda: stack.start_consumer("trades", None, HURRIED), RESTARTS, random.Random(1)
        ) as supervisor:
            wait_until_drained(stack, history, first.acknowledged_ends(), supervisor.is_watching)
            if full:
                with outage(stack, history, Outage.DISK_FULL):
                    second = feed_records(stack, trades(132))
                    comes_true(lambda: len(supervisor.ends) >= DEATHS, PATIENCE_SECONDS)
                record_stop(seen, supervisor, stack)
            else:
                second = feed_records(stack, trades(132))
            record_fact(
                seen,
                "it takes in all that waited",
                True,
                goes_on,
                stack,
                history,
                second.acknowledged_ends(),
                supervisor,
            )
            if not full:
                record_fact(seen, "ends without a fault", [], lambda: [end.exit_code for end in supervisor.ends])
                record_fact(seen, "words of a full disk without one", False, lambda: says_no_space(stack))
        history.observe("fed", type(first)([*first.items, *second.items]).table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    facts.judge()
    clause.judge()


@pytest.mark.clause(
    name="disk_full/dead_letters",
    claims=("HAR-3c",),
    checker="dead_letters",
    title="A full disk under the dead letter files holds the source back; with room again each letter is kept",
    minimum_samples=1,
    remedy="see DeadLetterFiles.write: nothing is committed before its letters are on disk",
)
@pytest.mark.timeout(600)
def test_a_full_disk_of_dead_letters_is_waited_for(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    facts = clause.part(
        "disk_full/dead_letters_facts", ("HAR-3c",), "facts", "It says so, and holds the source back", 2
    )
    kinds = sorted({poison.kind for poison in poisons()})
    with (
        new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack,
        SmallDisk(tmp_path / "letters", LETTERS_BYTES) as disk,
        clause.history(seed=133, required_kinds=kinds) as history,
        facts.history(seed=133) as seen,
    ):
        environment = {**HURRIED, "K2_DEAD_LETTERS__DIRECTORY": str(disk.folder)}
        with Poisoner(stack) as poisoner:
            fed = feed_records(stack, poisoner.among(trades(133), POISON_EVERY, PARTITIONS))
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[REFUSED] * ENDLESS)
        disk.fill()
        with Supervisor(
            lambda: stack.start_consumer("trades", None, environment), RESTARTS, random.Random(1)
        ) as supervisor:
            with history.invoke("harness", "fault", {"fault": "disk_full"}):
                comes_true(lambda: len(supervisor.ends) >= DEATHS, PATIENCE_SECONDS)
            record_stop(seen, supervisor, stack)
            disk.free()
            ends = latest(fed.acknowledged_ends(), poisoner.ends())
            record_fact(seen, "it takes in all that waited", True, goes_on, stack, history, ends, supervisor)
        in_topic = read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(trades_topic(stack))])
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letter_table([*in_topic, *letters_in_files(disk.folder)]))
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    facts.judge()
    clause.judge()


def goes_on(stack: Stack, history: HistoryWriter, ends: Mapping[Place, int], supervisor: Supervisor) -> bool:
    """Whether the consumer takes in everything that was acknowledged."""
    try:
        wait_until_drained(stack, history, ends, supervisor.is_watching)
    except TimeoutError:
        return False
    return True


def record_stop(seen: HistoryWriter, supervisor: Supervisor, stack: Stack) -> None:
    """That the disk was full, that the consumer said so, and how it ended."""
    record_fact(seen, "exit codes", [EXHAUSTED], lambda: sorted({end.exit_code for end in supervisor.ends}))
    record_fact(seen, "it ended again and again", True, lambda: len(supervisor.ends) >= DEATHS)
    record_fact(seen, "its log names the full disk", True, says_no_space, stack)


def says_no_space(stack: Stack) -> bool:
    """Whether a consumer's log has the words of a full disk."""
    return any(NO_SPACE.search(text) for name, text in stack.logs().items() if "consumer" in name)


def trades(seed: int) -> SyntheticExchange:
    """Trades, none sent twice."""
    return SyntheticExchange(SyntheticSettings(seed=seed, records=RECORDS, trade_share=1.0, duplicate_rate=0.0))
