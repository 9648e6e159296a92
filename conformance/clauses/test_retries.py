"""What passes by itself is retried, what one message is to blame for costs that message, all else stops the consumer.

A transient failure MUST be retried: 3 attempts in all, the first wait half a second, each next one twice that and none
above ten seconds, each lengthened at random by up to half. Exhausted, the consumer MUST stop with exit code 75 and
commit nothing, and started again it MUST lose and repeat nothing. A message that is itself at fault MUST go to the dead
letters, and the consumer MUST go on. Each exception of a library that K2 talks to MUST have a stated class (CON-2).
"""

import itertools
import time
from collections.abc import Iterator

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, latest, wait_until_drained
from conformance.drivers.library_errors import MODULES, kafka_errors, library_exceptions
from conformance.drivers.observing import observe_tables
from conformance.drivers.outages import outage
from conformance.drivers.poisoning import Poison, Poisoner, letter_table, read_letters
from conformance.drivers.retry_log import LoggedRetry, logged_retries, wait_for_retries
from conformance.drivers.table_view import metadata_location
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from conformance.stacks.supervisor import RestartPolicy, Supervisor
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE
from k2.resilience.failures import classify
from k2.resilience.rules import RULES

RECORDS = 2_000
ROLE = "consumer-trades"
REASONS = {"embedded": "ENOTDIR", "containers": "S3_NETWORK_CONNECTION"}
"""By stack: why its warehouse does not take a file while it is away."""
ATTEMPTS, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, JITTER = 3, 0.5, 10.0, 0.5
EXHAUSTED_EXIT_CODE, UNAVAILABLE_EXIT_CODE = 75, 69
IMPATIENT = {"K2_RETRY__FIRST_WAIT_SECONDS": "0.1"}
RESTARTS = RestartPolicy(first_wait_seconds=0.2, longest_wait_seconds=2.0)
RESTART_TIMEOUT_SECONDS = 60.0


@pytest.mark.clause(
    name="retries",
    claims=("CON-2a", "CON-5b"),
    checker="facts",
    title="A warehouse that is away for two attempts is survived by one process, within the stated attempts and waits",
    minimum_samples=5,
    remedy="see k2/resilience/retries.py and MarketDataConsumer.run",
)
def test_a_failure_shorter_than_the_retries_is_survived(stack: Stack, clause: ClauseRun) -> None:
    delivery = clause.part("retries/rows", ("CON-2a",), "delivery", "Retries lose and repeat nothing", RECORDS)
    with delivery.history(seed=41) as history:
        before, after = halves(41)
        fed = feed_records(stack, before)
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        with outage(stack, history, Outage.WAREHOUSE_AWAY):
            fed = Fed([*fed.items, *feed_records(stack, after).items])
            wait_for_retries(stack, ROLE, ATTEMPTS - 1)
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        alive = consumer.returncode() is None
        consumer.stop()
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    with clause.history(seed=41) as facts:
        retries = logged_retries(stack, ROLE)
        attempts = [[number, ATTEMPTS] for number in range(1, ATTEMPTS)]
        record_fact(facts, "retries", attempts, lambda: [[retry.attempt, retry.attempts] for retry in retries])
        reasons = [REASONS[stack.name]] * (ATTEMPTS - 1)
        record_fact(facts, "reasons", reasons, lambda: [retry.reason for retry in retries])
        record_fact(facts, "waits outside their bounds or cut short", [], wrong_waits, retries, samples=ATTEMPTS - 1)
        record_fact(facts, "the process that met the failure lives", True, lambda: alive)
    clause.judge()
    delivery.judge()


@pytest.mark.clause(
    name="retries_exhausted",
    claims=("CON-2b", "CON-5b"),
    checker="delivery",
    title="A consumer whose warehouse stays away gives up, and started again once it is back loses and repeats nothing",
    minimum_samples=RECORDS,
    remedy="see MarketDataConsumer.run, and for what was started again conformance/stacks/supervisor.py",
)
def test_a_failure_longer_than_the_retries_ends_the_process_and_no_record(stack: Stack, clause: ClauseRun) -> None:
    facts_part = clause.part(
        "retries_exhausted/exit", ("CON-2b",), "facts", "Exhausted retries: exit code 75, nothing committed", 5
    )
    with clause.history(seed=42) as history:
        before, after = halves(42)
        fed = feed_records(stack, before)
        with Supervisor(lambda: stack.start_consumer("trades", None, IMPATIENT), RESTARTS) as supervisor:
            wait_until_drained(stack, history, fed.acknowledged_ends(), supervisor.is_watching)
            with outage(stack, history, Outage.WAREHOUSE_AWAY):
                metadata_before = metadata_location(stack.settings.storage, TRADE.table)
                fed = Fed([*fed.items, *feed_records(stack, after).items])
                wait_for_ends(supervisor, 2)
                metadata_after = metadata_location(stack.settings.storage, TRADE.table)
            wait_until_drained(stack, history, fed.acknowledged_ends(), supervisor.is_watching)
        record_ends(history, supervisor)
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    with facts_part.history(seed=42) as facts:
        ends = supervisor.ends
        record_fact(facts, "first exit code", EXHAUSTED_EXIT_CODE, lambda: ends[0].exit_code)
        later = {EXHAUSTED_EXIT_CODE, UNAVAILABLE_EXIT_CODE}
        record_fact(facts, "other exit codes", [], lambda: sorted({end.exit_code for end in ends[1:]} - later))
        record_fact(facts, "what the table names", metadata_before, lambda: metadata_after)
        record_fact(facts, "attempts before it gave up", [1, 2], lambda: first_attempts(stack))
        record_fact(facts, "restarts outside the back-off", [], wrong_restarts, supervisor, samples=len(ends))
    clause.judge()
    facts_part.judge()


@pytest.mark.clause(
    name="permanent_errors",
    claims=("CON-2c", "CON-5b"),
    checker="dead_letters",
    title="A message whose schema id nobody registered is one dead letter; its neighbours are rows, nothing is retried",
    minimum_samples=1,
    remedy="see k2/records/decode.py for rejects, k2/ingestion/registry.py for what an unknown schema id is",
)
def test_one_message_at_fault_costs_one_message(stack: Stack, clause: ClauseRun) -> None:
    facts_part = clause.part(
        "permanent_errors/process", ("CON-2c",), "facts", "The consumer goes on past a message at fault", 3
    )
    poison = Poison("unknown_schema_id", b"\0\0\0\x03\xe7 of a schema that nobody registered")
    with clause.history(required_kinds=[poison.kind]) as history:
        before, after = halves(43)
        with Poisoner(stack) as poisoner:
            first = feed_records(stack, before)
            poisoner.send(poison)
        fed = Fed([*first.items, *feed_records(stack, after).items])
        consumer = stack.start_consumer("trades")
        ends = latest(fed.acknowledged_ends(), poisoner.ends())
        wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
        alive = consumer.returncode() is None
        letters = read_letters(stack, poisoner.places())
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letter_table(letters))
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    with facts_part.history(seed=43) as facts:
        record_fact(facts, "dead letters", 1, lambda: len(letters))
        record_fact(facts, "retries", 0, lambda: len(logged_retries(stack, ROLE)))
        record_fact(facts, "the process that met the message lives", True, lambda: alive)
    clause.judge()
    facts_part.judge()


@pytest.mark.clause(
    name="error_classes",
    claims=("CON-2d",),
    checker="facts",
    title="Every exception of the libraries K2 talks to, and every code of the Kafka client, has a stated class",
    minimum_samples=250,
    remedy="state the class in k2/resilience/rules, with the reason, and run python scripts/document_error_classes.py",
)
def test_every_exception_of_a_library_has_a_stated_class(clause: ClauseRun) -> None:
    named = {name for rule in RULES for name in rule.exceptions}
    with clause.history() as history:
        for module in MODULES:
            found = library_exceptions(module)
            record_fact(
                history,
                f"{module}: without a class",
                [],
                lambda found=found: sorted(set(found) - named),
                samples=len(found),
            )
        failures = {name: classify(error) for name, error in kafka_errors()}
        unnamed = [name for name, failure in failures.items() if failure.rule is None or name not in failure.rule.codes]
        record_fact(history, "Kafka codes without a class", [], lambda: unnamed, samples=len(failures))
    clause.judge()


def halves(seed: int) -> tuple[Iterator[FeedRecord], Iterator[FeedRecord]]:
    """The same records in two parts, to be taken one after the other."""
    exchange = SyntheticExchange(
        SyntheticSettings(
            seed=seed, records=RECORDS, trade_share=1.0, duplicate_rate=0.0, gap_rate=0.0, reorder_rate=0.0
        )
    )
    records = iter(exchange)
    return itertools.islice(records, RECORDS // 2), records


def wrong_waits(retries: list[LoggedRetry]) -> list[str]:
    """Retries whose wait is not the stated one, or was not waited."""
    bounds = (FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, JITTER)
    return [str(retry) for retry in retries if not retry.is_within(*bounds)]


def first_attempts(stack: Stack) -> list[int]:
    """The attempts that the first consumer said it would repeat."""
    first = next(name for name in stack.logs() if name.endswith(ROLE))
    return [retry.attempt for retry in logged_retries(stack, first)]


def wait_for_ends(supervisor: Supervisor, count: int) -> None:
    """Wait until the process has ended so often."""
    give_up_at = time.monotonic() + RESTART_TIMEOUT_SECONDS
    while len(supervisor.ends) < count:
        if time.monotonic() > give_up_at or not supervisor.is_watching():
            raise TimeoutError(f"the consumer ended {len(supervisor.ends)} times, not {count}")
        time.sleep(0.02)


def record_ends(history: HistoryWriter, supervisor: Supervisor) -> None:
    """Every end of the process and what the supervisor did, as operations `restart`."""
    for end in supervisor.ends:
        attributes = {"exit_code": end.exit_code, "ran_seconds": end.ran_seconds, "wait_seconds": end.wait_seconds}
        history.operation(
            "supervisor", "restart", "ok" if end.wait_seconds is not None else "fail", attributes=attributes
        )


def wrong_restarts(supervisor: Supervisor) -> list[str]:
    """Ends after which the process was not started again within the back-off's bounds."""
    wrong = []
    for number, end in enumerate(supervisor.ends, start=1):
        shortest = min(RESTARTS.first_wait_seconds * 2 ** (number - 1), RESTARTS.longest_wait_seconds)
        longest = min(RESTARTS.first_wait_seconds * 2 ** (number - 1) * (1 + JITTER), RESTARTS.longest_wait_seconds)
        if end.wait_seconds is None or not shortest <= end.wait_seconds <= longest:
            wrong.append(str(end))
    return wrong
