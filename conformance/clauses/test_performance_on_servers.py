"""Speed where it takes real brokers: beside the peers, and of a group with one member and with several.

On a Kafka broker, with both cores, committed ingest SHOULD be 5 times the Iceberg sink of Kafka Connect and Spark's
best micro-batch (PERF-1). What one, two and four members of a group take in on real servers MUST be measured (PERF-6):
each group takes in everything, and its rate is in the evidence and in docs/performance.md.

With PROFILE=full only, like everything of conformance/clauses/test_performance.py.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feed_command import log_ends
from conformance.drivers.feeding import Place, table_offsets
from conformance.drivers.measurements import REMEDY, measured, ratio_of, record_goal
from conformance.stacks.base import NewStack, PowerMissingError, Stack
from conformance.stacks.kinds import CONTAINERS
from k2.records.definition import TRADE

pytestmark = [pytest.mark.alone, pytest.mark.full_profile]
BESIDE, LEAST = 500_000, 5.0
SENT, LEAST_TRADES = 300_000, 100_000
"""Records of each group, and how many of them are trades at least, which the members take in."""
PEERS = {"best micro-batch of Spark": "Spark", "Kafka Connect sink": "Kafka Connect sink"}
"""As the ratios of benchmarks.side_by_side call them, and as it calls those that it could not have."""
MEMBERS = (1, 2, 4)
BATCH_ROWS = 10_000
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.05


@pytest.mark.timeout(3_000)
@pytest.mark.clause(
    name="performance/peers",
    claims=("PERF-1c",),
    checker="facts",
    title="Committed ingest is 5 times the Iceberg sink of Kafka Connect and Spark's best micro-batch",
    minimum_samples=BESIDE,
    remedy=REMEDY.format("side_by_side"),
)
def test_committed_ingest_is_many_times_its_peers(
    request: pytest.FixtureRequest, clause: ClauseRun, tmp_path: Path
) -> None:
    if request.config.getoption("--k2-stack") != CONTAINERS:
        raise PowerMissingError("measured with real brokers: --stack containers")
    figures = measured("side_by_side", tmp_path, "--messages", str(BESIDE), "--rounds", "2")
    if missing := {name: why for name, why in figures["missing"].items() if name in PEERS.values()}:
        raise PowerMissingError("; ".join(f"{name}: {why}" for name, why in missing.items()))
    with clause.history(figures=figures) as history:
        for peer in PEERS:
            name = f"K2 / {peer}, by the clock"
            clause.note(record_goal(history, name, ratio_of(figures, name), BESIDE, least=LEAST))
    clause.judge()


@pytest.mark.timeout(900)
@pytest.mark.clause(
    name="performance/group",
    claims=("PERF-6b",),
    checker="facts",
    title="What one, two and four members of a group take in a second is measured, and each group takes in everything",
    minimum_samples=LEAST_TRADES * len(MEMBERS),
    remedy="docs/performance.md, Growth, says what members cost one another",
)
def test_throughput_is_measured_for_one_to_four_members(clause: ClauseRun, new_stack: NewStack, tmp_path: Path) -> None:
    rates = {}
    with clause.history(members=MEMBERS, records=SENT) as history:
        for members in MEMBERS:
            with new_stack(tmp_path / f"group-of-{members}", batch_rows=BATCH_ROWS) as stack:
                fed = k2(stack, "feed", "--synthetic", "--market", "binance", "--records", str(SENT), "--window", "0")
                record_fact(
                    history, f"{members} members: exit code of the feed", 0, lambda answer=fed: answer.exit_code
                )
                sent = log_ends(stack, TRADE.data_type)
                rates[members], held = taken_in_by(stack, members, sent)
            fact = f"{members} members: offsets after the last"
            record_fact(history, fact, _by_name(sent), _by_name, held, samples=sum(sent.values()))
            fact = f"{members} members: messages a second are measured"
            record_fact(history, fact, True, lambda rate=rates[members]: rate > 0)
    clause.note("messages a second by members: " + ", ".join(f"{one}: {rate:,.0f}" for one, rate in rates.items()))
    clause.judge()


def taken_in_by(stack: Stack, members: int, sent: Mapping[Place, int]) -> tuple[float, dict[Place, int]]:
    """Messages a second of a group between its first commit and its last, and what the table then holds.

    The rate is 0 where there was one commit only, or not everything came in time.
    """
    for _ in range(members):
        stack.start_consumer(TRADE.data_type)
    first: tuple[float, int] | None = None
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        held = table_offsets(stack)
        now, count = time.monotonic(), sum(held.values())
        if count and first is None:
            first = now, count
        if all(held.get(place, 0) >= end for place, end in sent.items()):
            assert first is not None, "a table that holds something has held a first message"
            return (count - first[1]) / (now - first[0]) if now > first[0] else 0.0, held
        time.sleep(LOOK_SECONDS)
    return 0.0, table_offsets(stack)


def _by_name(offsets: Mapping[Place, int]) -> dict[str, int]:
    return {f"{name}/{partition}": offset for (name, partition), offset in sorted(offsets.items()) if offset}
