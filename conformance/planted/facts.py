"""What the checker of plain facts must catch."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, OperationOutcome
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes

_NAMES = ("rows", "exit status", "symbols", "partition fields", "nothing open")


def clean_facts(seed: int) -> History:
    """Facts of several types, each seen as it must be."""
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, 10_000))
    values: tuple[Any, ...] = (rows, 0, ["BTCUSDT", "ETHUSDT"], {"days": 2, "exchange": "ASX"}, None)
    facts = [
        {"variant": name, "name": name, "expected": value, "observed": value, "samples": 1}
        for name, value in zip(_NAMES, values, strict=True)
    ]
    events = [operation("harness", "fact", START_NS + number * SECOND_NS, fact) for number, fact in enumerate(facts)]
    parameters = {"required_facts": list(_NAMES), "minimum_samples": len(_NAMES)}
    return History(Header("planted/facts", (), "facts", seed, "embedded", START_NS, parameters), tuple(events))


def _observed(name: str, value: object) -> Plant:
    return lambda history: edit_operations(history, "fact", lambda one: with_attributes(one, {"observed": value}), name)


def _not_looked_at(history: History) -> History:
    return edit_operations(history, "fact", lambda _: None, "symbols")


def _could_not_be_looked_at(history: History) -> History:
    return edit_operations(history, "fact", lambda one: replace(one, outcome=OperationOutcome.UNKNOWN), "rows")


SUITE = Suite(
    "facts",
    clean_facts,
    (
        Defect("number_off", "differs", _observed("rows", -1)),
        Defect("nothing_seen", "differs", _observed("exit status", None)),
        Defect("list_in_another_order", "differs", _observed("symbols", ["ETHUSDT", "BTCUSDT"])),
        Defect("one_entry_of_many", "differs", _observed("partition fields", {"days": 1, "exchange": "ASX"})),
        Defect("something_where_nothing_must_be", "differs", _observed("nothing open", [])),
        Defect("fact_left_out", "missing", _not_looked_at, Outcome.UNKNOWN),
        Defect("look_failed", "missing", _could_not_be_looked_at, Outcome.UNKNOWN),
    ),
)
