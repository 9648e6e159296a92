"""A process that is in trouble does less, says so, and goes back to doing everything.

There MUST be four levels, NOMINAL, DEGRADED, CRITICAL and SHUTDOWN. A level MUST be entered at the stated threshold and
left at another one below it, MUST last for the stated time at least, and MUST fall one step at a time: however often a
dependency comes and goes, the level never flaps. What each level sheds MUST be what docs/degradation.md says and no
more, MUST be counted, and API, metrics and logs MUST show the same level (RES-2). No record is ever shed.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.levels import (
    LEVELS,
    counted_changes,
    exported_level,
    header_level,
    shed_counts,
    shown_levels,
)
from conformance.drivers.logged_changes import (
    TOLERANCE_SECONDS,
    breaker_changes,
    broken_chain,
    level_changes,
    too_close,
)
from conformance.drivers.observing import observe_tables
from conformance.drivers.outages import outage
from conformance.drivers.silence import METRICS, comes_true, metrics_url
from conformance.drivers.table_view import metadata_location
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from k2.embedded.processes import ChildProcess
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

SETTLE_SECONDS = 15.0
CONTROL_SECONDS = 0.5
BREAKER = {"K2_BREAKER__FAILURES_TO_OPEN": "2", "K2_BREAKER__OPEN_SECONDS": "0.2"}
ENTERED_AFTER_SECONDS = {"DEGRADED": 0.2, "CRITICAL": 0.8, "SHUTDOWN": 1.4}
HOLD_SECONDS = 0.4
FLICKERS, FLICKER_SECONDS = 6, 0.25
RECORDS = 2_600
SYMBOL, OTHER_SYMBOL = "BTCUSDT", "ETHUSDT"
START, WITHIN_AN_HOUR = "2024-08-09T00:00:00Z", "2024-08-09T00:30:00Z"


@pytest.mark.clause(
    name="levels/changes",
    claims=("RES-2a",),
    checker="facts",
    title="Levels rise at their thresholds, fall step by step, last for their time, and do not flap with a dependency",
    minimum_samples=12,
    remedy="see k2/resilience/degradation.py for the rule, k2/resilience/signals.py for what it follows from",
)
def test_levels_follow_an_outage_and_do_not_flap(stack: Stack, clause: ClauseRun) -> None:
    bands = {level.lower(): [seconds, 0.0] for level, seconds in ENTERED_AFTER_SECONDS.items()}
    with clause.history(hold_seconds=HOLD_SECONDS, bands=bands) as history:
        api = stack.start_api({**BREAKER, **stack.impatience(), **away_bands(bands), **quick(HOLD_SECONDS)})
        time.sleep(CONTROL_SECONDS)
        record_fact(history, "changes without a failure", [], lambda: level_changes(stack, "api"))
        with outage(stack, history, Outage.CATALOG_LOCKED):
            record_fact(history, "SHUTDOWN comes", True, shows_level, api, "SHUTDOWN", ask_catalog)
        record_fact(history, "NOMINAL comes back", True, shows_level, api, "NOMINAL")
        changes = level_changes(stack, "api")
        path = ["DEGRADED", "CRITICAL", "SHUTDOWN", "CRITICAL", "DEGRADED", "NOMINAL"]
        record_fact(history, "levels of one outage", path, lambda: [change.after for change in changes], samples=6)
        record_fact(history, "levels entered before their threshold", [], early_levels, stack)
        for _ in range(FLICKERS):
            with outage(stack, history, Outage.CATALOG_LOCKED):
                ask_for(FLICKER_SECONDS, api)
            ask_for(FLICKER_SECONDS, api)
        record_fact(history, "NOMINAL comes back after the flicker", True, shows_level, api, "NOMINAL")
        changes = level_changes(stack, "api")
        record_fact(history, "changes out of order", [], broken_chain, changes, "NOMINAL", samples=len(changes))
        record_fact(history, "changes closer than a level lasts", [], too_close, changes, HOLD_SECONDS)
        record_fact(history, "falls of more than one step", [], lambda: [c for c in changes if fall(c) > 1])
        reached = [change.after for change in changes]
        counts = {level: float(reached.count(level)) for level in LEVELS}
        record_fact(history, "counted changes", counts, counted_changes, f"{api}/metrics", "api")
    clause.judge()


@pytest.mark.clause(
    name="levels/api",
    claims=("RES-2b",),
    checker="facts",
    title="At each level the API answers what the table lets it, refuses the rest, counts that, and says the level",
    minimum_samples=60,
    remedy="see k2/resilience/shedding.py for the table, k2/api/shedding.py for how it is kept",
)
def test_each_level_of_the_api_sheds_what_the_table_says(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=91) as history:
        fill(stack, history)
        # Straight to the most severe level; on the way down each lasts long enough to be looked at.
        bands = away_bands({"shutdown": [0.1, 0.0]})
        api = stack.start_api({**BREAKER, **stack.impatience(), **bands, **quick(2.0)})
        observe_level(history, stack, api, "NOMINAL")
        with outage(stack, history, Outage.CATALOG_LOCKED):
            record_fact(history, "SHUTDOWN comes", True, shows_level, api, "SHUTDOWN", ask_catalog)
        record_fact(history, "the catalog is read again", True, comes_true, lambda: ask_catalog(api))
        for level in ("SHUTDOWN", "CRITICAL", "DEGRADED", "NOMINAL"):
            record_fact(history, f"{level} comes on the way down", True, shows_level, api, level)
            observe_level(history, stack, api, level)
    clause.judge()


@pytest.mark.clause(
    name="levels/consumer",
    claims=("RES-2b",),
    checker="delivery",
    title="A consumer whose broker is away, and one that is short of memory, shed what the table says and no record",
    minimum_samples=RECORDS,
    remedy="see k2/resilience/shedding.py for the table, MarketDataConsumer for how it is kept",
)
def test_each_level_of_a_consumer_sheds_what_the_table_says(stack: Stack, clause: ClauseRun) -> None:
    facts_part = clause.part("levels/consumer/shed", ("RES-2b",), "facts", "What a consumer sheds, and says", 9)
    with clause.history(seed=92) as history, facts_part.history(seed=92) as facts:
        fed = feed_records(stack, records(92))
        before = metadata_location(stack.settings.storage, TRADE.table)
        small = {"K2_DEGRADATION__MEMORY_LIMIT_BYTES": "1000000", **quick(0.3)}
        starved = stack.start_consumer("trades", environment=small)
        record_fact(facts, "exit code of one short of memory", 75, exit_code, starved)
        starved.stop()
        record_fact(
            facts, "its levels", ["SHUTDOWN"], lambda: [c.after for c in level_changes(stack, "consumer-trades")]
        )
        record_fact(
            facts, "what the table names after it", before, metadata_location, stack.settings.storage, TRADE.table
        )
        environment = {**METRICS, **BREAKER, **away_bands({"critical": [0.1, 0.0], "shutdown": [0.2, 0.0]})}
        consumer = stack.start_consumer("trades", environment={**environment, **quick(0.3)})
        url = metrics_url(consumer)
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        record_fact(facts, "age exported while nominal", True, exports_age, url)
        with outage(stack, history, Outage.BROKER_DOWN):
            record_fact(
                facts, "CRITICAL comes", True, comes_true, lambda: exported_level(url, "consumer") == "CRITICAL"
            )
            record_fact(facts, "age exported while CRITICAL", False, exports_age, url)
            # A shutdown would only start it again, so the table keeps a consumer from it.
            time.sleep(CONTROL_SECONDS)
            record_fact(facts, "level of a long outage", "CRITICAL", exported_level, url, "consumer")
            record_fact(facts, "counted as shed", True, lambda: "record_age" in shed_counts(url, {"level": "CRITICAL"}))
        record_fact(facts, "NOMINAL comes back", True, comes_true, lambda: exported_level(url, "consumer") == "NOMINAL")
        record_fact(facts, "age exported afterwards", True, exports_age, url)
        record_fact(facts, "the consumer lives", True, lambda: consumer.returncode() is None)
        consumer.stop()
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    clause.judge()
    facts_part.judge()


OK, REFUSED = 200, 503
PAGE = {"symbol": SYMBOL, "start_time": START, "end_time": WITHIN_AN_HOUR, "limit": 10}
ANSWERED = ("answered",) * 3
REQUESTS: tuple[tuple[str, Callable[[str], http.Answer], tuple[str, str, str]], ...] = (
    # name, request, and what becomes of it at NOMINAL, DEGRADED and CRITICAL: answered, cut short, or refused as what
    ("one symbol within an hour", lambda api: rows(api, PAGE), ANSWERED),
    ("the same, a large page", lambda api: rows(api, {**PAGE, "limit": 5_000}), ("answered", "cut", "cut")),
    (
        "one symbol, any time",
        lambda api: rows(api, {"symbol": SYMBOL, "limit": 10}),
        ("answered", "answered", "unbounded_queries"),
    ),
    (
        "all symbols within an hour",
        lambda api: rows(api, {"start_time": START, "end_time": WITHIN_AN_HOUR, "limit": 10}),
        ("answered", "answered", "unbounded_queries"),
    ),
    ("all symbols, any time", lambda api: rows(api, {"limit": 10}), ("answered", "wide_queries", "unbounded_queries")),
    ("three queries at once", lambda api: bulk(api, 3), ("answered", "answered", "bulk")),
    ("eleven queries at once", lambda api: bulk(api, 11), ("answered", "large_bulk", "bulk")),
    ("symbols", lambda api: listing(api, "symbols"), ("answered", "answered", "listings")),
    ("gaps", lambda api: listing(api, "gaps"), ("answered", "answered", "listings")),
)


def observe_level(history: HistoryWriter, stack: Stack, api: str, level: str) -> None:
    """Record what becomes of each request at a level, what is counted, and where the level is shown."""
    place = LEVELS.index(level)
    labels = {"level": level}
    name = f"{level}, {time.monotonic_ns()}" if level == "NOMINAL" else level
    before = shed_counts(f"{api}/metrics", labels)
    expected_counts: dict[str, float] = dict(before)
    for request, ask, outcomes in REQUESTS:
        outcome = outcomes[place] if place < len(outcomes) else "requests"
        record_fact(history, f"{name}: {request}", [level, outcome], lambda ask=ask: became(ask(api)))
        what = {"cut": "large_pages", "answered": None}.get(outcome, outcome)
        if what is not None:
            expected_counts[what] = expected_counts.get(what, 0.0) + 1
    record_fact(history, f"{name}: counted as shed", expected_counts, shed_counts, f"{api}/metrics", labels)
    record_fact(
        history,
        f"{name}: shown",
        dict.fromkeys(("health", "header", "metrics", "log"), level),
        shown_levels,
        stack,
        api,
    )
    ready = [OK, True] if level != "SHUTDOWN" else [REFUSED, False]
    record_fact(history, f"{name}: ready", ready, lambda: readiness(api))


def became(answer: http.Answer) -> list[str]:
    """The level an answer names, and what became of the request."""
    level = header_level(answer)
    if answer.status == OK:
        meta = answer.body["meta"]
        is_cut = meta.get("next_cursor") is not None and meta["count"] == 1_000
        return [level, "cut" if is_cut else "answered"]
    error = answer.body["error"]
    is_proper = answer.status == REFUSED and error["code"] == "SHED" and int(answer.headers["retry-after"]) >= 1
    return [level, error["shed"] if is_proper else f"{answer.status} {error}"]


def readiness(api: str) -> list[Any]:
    """Status of /health, and whether it says ready."""
    answer = http.get(f"{api}/health")
    return [answer.status, answer.body["ready"]]


def rows(api: str, parameters: Mapping[str, Any]) -> http.Answer:
    """A query for trades."""
    return http.get(f"{api}/v1/trades", parameters)


def bulk(api: str, queries: int) -> http.Answer:
    """A bulk query of as many small queries."""
    return http.post(f"{api}/v1/trades/query", {"queries": [PAGE] * queries})


def listing(api: str, what: str) -> http.Answer:
    """Symbols or gaps."""
    return http.get(f"{api}/v1/{what}", {"data_type": "trades"})


def away_bands(bands: Mapping[str, Any]) -> dict[str, str]:
    """Environment of a process whose level follows from how long a dependency has been away."""
    return {"K2_DEGRADATION__DEPENDENCY_AWAY_SECONDS": json.dumps(bands)}


def quick(hold_seconds: float) -> dict[str, str]:
    """Environment of a process that looks often and holds a level for so long."""
    return {"K2_DEGRADATION__HOLD_SECONDS": str(hold_seconds), "K2_DEGRADATION__LOOK_SECONDS": "0.05"}


def shows_level(api: str, level: str, meanwhile: Callable[[str], object] = lambda _: None) -> bool:
    """Whether the API's metrics come to show a level, while something is done with it again and again.

    An API that nobody asks does not notice that its catalog is away.
    """

    def reached() -> bool:
        meanwhile(api)
        return exported_level(f"{api}/metrics", "api") == level

    return comes_true(reached)


def ask_catalog(api: str) -> bool:
    """Whether the API says that its catalog can be read."""
    return bool(http.get(f"{api}/health").body["checks"]["catalog"] == "ok")


def ask_for(seconds: float, api: str) -> None:
    """Keep an API busy with its catalog for a while."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        ask_catalog(api)


def early_levels(stack: Stack) -> list[str]:
    """Levels of the first outage that were entered before the catalog had been away for so long."""
    opened = breaker_changes(stack, "api", "catalog")[:1]
    return [
        f"{change} {change.at_seconds - first.at_seconds:.3f} s after the breaker opened"
        for first in opened
        for change in level_changes(stack, "api")[: len(ENTERED_AFTER_SECONDS)]
        if change.at_seconds - first.at_seconds < ENTERED_AFTER_SECONDS.get(change.after, 0.0) - TOLERANCE_SECONDS
    ]


def fall(change: Any) -> int:
    """By how many steps a change goes down."""
    return LEVELS.index(change.before) - LEVELS.index(change.after)


def exit_code(process: ChildProcess) -> int | None:
    """The exit code of a process that ends in time; None if it goes on."""
    comes_true(lambda: process.returncode() is not None, SETTLE_SECONDS)
    return process.returncode()


def exports_age(url: str) -> bool:
    """Whether a consumer's metrics hold the age of its newest row."""
    return bool(http.samples(http.get(url).body, "k2_consumer_lag_seconds", {"data_type": "trades"}))


def records(seed: int) -> SyntheticExchange:
    """Trades of two symbols without faults, well over a thousand of one of them, within seconds."""
    return SyntheticExchange(
        SyntheticSettings(
            seed=seed,
            records=RECORDS,
            symbols=(SYMBOL, OTHER_SYMBOL),
            trade_share=1.0,
            gap_rate=0.0,
            duplicate_rate=0.0,
            reorder_rate=0.0,
        )
    )


def fill(stack: Stack, history: HistoryWriter) -> None:
    """Put the records into the table."""
    ends = feed_records(stack, records(91)).acknowledged_ends()
    consumer = stack.start_consumer("trades")
    wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
    consumer.stop()
