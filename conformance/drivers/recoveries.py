"""A fault in a deployment, and its recovery by the commands of the runbooks, while records go on being fed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from conformance.drivers import http
from conformance.drivers.feeding import Fed, wait_until_drained
from conformance.drivers.log_tap import LogTap
from conformance.drivers.observing import observe_answers, observe_log
from conformance.drivers.steady_feed import SteadyFeed
from conformance.drivers.table_view import next_offsets, view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from conformance.stacks.containers.deployed import RUNBOOKS, Deployed
from conformance.stacks.containers.paths import PROJECT_ROOT
from k2.commands.runbooks.execution import environment_of, run_block
from k2.commands.runbooks.pages import CommandBlock, read_runbook
from k2.errors import K2Error
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.topics import count_messages, log_ends
from k2.records.definition import TRADE

RECORDS_A_SECOND = 50.0
SYMBOLS_EACH = 3
_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 3.0
_SYMPTOM_SECONDS = 60.0
_GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_LOG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command block of a runbook: of this page, the one that holds this text; `given` is what its reader sets."""

    page: str
    text: str
    given: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What breaks, what that looks like, and what is typed.

    Attributes:
        name: of the recovery.
        objective_seconds: from the fault until all is well again.
        break_it: the fault.
        symptom: what is seen of it before anything is typed.
        expected_symptom: what must be seen, a JSON value.
        steps: of the runbooks.
        prepare: of the runbooks too, typed before the fault.
    """

    name: str
    objective_seconds: float
    break_it: Callable[[Deployed], None]
    symptom: Callable[[Deployed], Any]
    expected_symptom: Any
    steps: Callable[[Deployed], Sequence[Step]]
    prepare: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery took."""

    name: str
    objective_seconds: float
    outage_seconds: float | None
    typed_seconds: float
    commands: int


def recover(history: HistoryWriter, deployed: Deployed, recovery: Recovery, seed: int) -> Recovered:
    """Carry a recovery out under a feed, and observe what became of each record.

    Args:
        history: where to.
        deployed: the deployment.
        recovery: what is done.
        seed: of the feed; it has symbols that no other seed has.
    """
    stack, exchange = deployed.stack, _exchange(seed)
    with SteadyFeed(stack, exchange, RECORDS_A_SECOND) as feed:
        taken = _messages(stack)
        time.sleep(_BEFORE_SECONDS)
        for step in recovery.prepare:
            _type(history, deployed, recovery.name, step)
            time.sleep(_AFTER_SECONDS)
        before = _messages(stack) - taken
        fault_wall_ns = time.time_ns()
        recovery.break_it(deployed)
        symptom = _look_until(lambda: recovery.symptom(deployed), recovery.expected_symptom)
        begun_wall_ns = time.time_ns()
        steps = recovery.steps(deployed)
        for step in steps:
            _type(history, deployed, recovery.name, step)
        patience = recovery.objective_seconds + _GRACE_SECONDS - (time.time_ns() - fault_wall_ns) / 1e9
        is_well = _wait_until_well(deployed, max(_GRACE_SECONDS, patience))
        recovered_wall_ns = time.time_ns() if is_well else None
        at_recovery = _messages(stack)
        time.sleep(_AFTER_SECONDS)
        fed = feed.finish()
    attributes = {
        "recovery": recovery.name,
        "objective_seconds": recovery.objective_seconds,
        "symptom_expected": recovery.expected_symptom,
        "symptom_observed": symptom,
        "fault_wall_ns": fault_wall_ns,
        "begun_wall_ns": begun_wall_ns,
        "recovered_wall_ns": recovered_wall_ns,
        "acknowledged_before": before,
        "acknowledged_after": _messages(stack) - at_recovery,
    }
    history.operation("operator", "recovery", "ok", attributes=attributes)
    observe(history, deployed, fed, exchange.session)
    return _measured(recovery, fault_wall_ns, begun_wall_ns, recovered_wall_ns, len(steps))


def _exchange(seed: int) -> SyntheticExchange:
    """Trades without faults, of symbols that no other seed has."""
    symbols = tuple(f"DRILL{seed}{letter}" for letter in "ABCDEFG"[:SYMBOLS_EACH])
    return SyntheticExchange(
        SyntheticSettings(
            seed=seed, records=None, trade_share=1.0, symbols=symbols, gap_rate=0, duplicate_rate=0, reorder_rate=0
        )
    )


def _measured(recovery: Recovery, fault_ns: int, begun_ns: int, recovered_ns: int | None, commands: int) -> Recovered:
    ended_ns = time.time_ns() if recovered_ns is None else recovered_ns
    outage_seconds = None if recovered_ns is None else (recovered_ns - fault_ns) / 1e9
    return Recovered(recovery.name, recovery.objective_seconds, outage_seconds, (ended_ns - begun_ns) / 1e9, commands)


def observe(history: HistoryWriter, deployed: Deployed, fed: Fed, session: str) -> None:
    """Follow the records of one session through log, table and answers, once the table has them all."""
    stack = deployed.stack
    wait_until_drained(stack, history, fed.acknowledged_ends())
    history.observe("fed", fed.table(TRADE.data_type), TRADE.data_type)
    topic = stack.topic("crypto", TRADE.data_type)
    with LogTap(stack.settings.kafka.bootstrap_servers, [topic]) as tap:
        messages = tap.wait_for(sum(count_messages(stack.settings.kafka, [topic]).values()), _LOG_SECONDS)
    marked = session.encode()
    # Records of other feeds are in the same log and table.
    observe_log(history, stack, [message for message in messages if marked in (message.value or b"")])
    rows = view_table(stack.settings.storage, TRADE.table).rows
    ours = rows.filter(pc.equal(rows["session"], pa.scalar(session)))
    history.observe("stored", ours.drop_columns(["vendor_data"]), TRADE.data_type)
    for symbol in sorted(set(ours["symbol"].to_pylist())):
        observe_answers(history, deployed.api_url, TRADE.data_type, {"symbol": symbol})


def block_of(step: Step) -> tuple[Path, CommandBlock]:
    """The page and the one block of it that a step names.

    Raises:
        ValueError: none, or several blocks hold the text.
    """
    path = RUNBOOKS / f"{step.page}.md"
    found = [block for block in read_runbook(PROJECT_ROOT / path).blocks if step.text in block.text]
    if len(found) != 1:
        raise ValueError(f"{path} has {len(found)} blocks with {step.text!r}, one is needed")
    return path, found[0]


def _type(history: HistoryWriter, deployed: Deployed, recovery: str, step: Step) -> None:
    path, block = block_of(step)
    attributes = {"recovery": recovery, "place": f"{path}:{block.line}", "expected_exit_code": block.exit_code}
    with history.invoke("operator", "command", attributes) as invocation:
        environment = {**deployed.environment, **step.given}
        done = run_block(path, block, PROJECT_ROOT, environment_of(PROJECT_ROOT / RUNBOOKS), environment)
        wrong = done.exit_code != block.exit_code
        invocation.attributes |= {"exit_code": done.exit_code, "seconds": done.seconds, "commands": block.text}
        invocation.attributes |= {"output": done.output, "reason": done.reason} if wrong else {}


def _look_until(look: Callable[[], Any], expected: Any) -> Any:
    """What is seen, once it is as expected, or else after a minute; None where nothing can be seen."""
    give_up_at = time.monotonic() + _SYMPTOM_SECONDS
    while True:
        seen = look()
        if seen == expected or time.monotonic() > give_up_at:
            return seen
        time.sleep(_LOOK_SECONDS)


def _wait_until_well(deployed: Deployed, patience_seconds: float) -> bool:
    """Whether records are acknowledged again, the table has them, and the API says that all is well."""
    give_up_at = time.monotonic() + patience_seconds
    stack, start = deployed.stack, None
    while time.monotonic() < give_up_at:
        try:
            ends = log_ends(stack.settings.kafka, [stack.topic("crypto", TRADE.data_type)])
            start = ends if start is None else start
            held = next_offsets(stack.settings.storage, TRADE.table)
            moved = sum(ends.values()) > sum(start.values())
            if moved and all(held.get(place, 0) >= end for place, end in start.items()) and _is_healthy(deployed):
                return True
        except Exception:  # noqa: BLE001 - whatever a client says of a server that is away: it is not well yet
            start = None
        time.sleep(_LOOK_SECONDS)
    return False


def _is_healthy(deployed: Deployed) -> bool:
    answer = http.get(f"{deployed.api_url}/health")
    return answer.status == 200 and http.get(f"{deployed.api_url}/v1/trades?limit=1").status == 200


def _messages(stack: Stack) -> int:
    try:
        return sum(log_ends(stack.settings.kafka, [stack.topic("crypto", TRADE.data_type)]).values())
    except K2Error:
        return 0
