"""What the checker of silent feeds must catch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Operation, OperationOutcome
from conformance.planted.journey import SECOND_NS
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes

_LIMIT, _DELAY, _CONTROL = 1.2, 1.0, 1.5
_FAULTS = ("feed_frozen", "feed_killed", "consumer_killed")
_FIRST_ROWS, _CYCLE, _ROWS_SECONDS, _FAULT_SECONDS = 1.0, 6.0, 2.5, 3.0
_END = _FIRST_ROWS + len(_FAULTS) * _CYCLE + _ROWS_SECONDS
_AGE_AT_COMMIT = 3.5


def clean_silences(seed: int) -> History:
    """An empty table, then rows, and three silences between them; looks and commits come at no regular times."""
    random = np.random.default_rng(seed)
    commits = _commits(random)
    operations = [_look(at, commits, random) for at in _times(random)]
    for number, name in enumerate(_FAULTS):
        injected = _injected(number)
        effect = "state stopped" if name == "feed_frozen" else "exit status -9"
        operations.append(_operation("fault", injected, injected + 0.02, {"name": name, "effect": effect}))
        healed = injected + _FAULT_SECONDS
        operations.append(_operation("heal", healed, healed + 0.4, {"name": name}))
    parameters = {
        "limit_seconds": _LIMIT,
        "delay_seconds": _DELAY,
        "control_seconds": _CONTROL,
        "required_faults": list(_FAULTS),
        "minimum_samples": 50,
    }
    header = Header("planted/freshness", (), "freshness", seed, "embedded", START_NS, parameters)
    return History(header, tuple(sorted(operations, key=lambda one: one.completed_monotonic_ns)))


def _injected(number: int) -> float:
    return _FIRST_ROWS + number * _CYCLE + _ROWS_SECONDS


def _commits(random: np.random.Generator) -> list[tuple[float, float]]:
    """When each commit looked at the clock, and when it could be seen; one may follow right after a fault."""
    found: list[tuple[float, float]] = []
    at = _FIRST_ROWS
    while at < _END:
        into_cycle = (at - _FIRST_ROWS) % _CYCLE
        if into_cycle < _ROWS_SECONDS + 0.2 or at > _END - _ROWS_SECONDS:
            found.append((at, at + float(random.uniform(0.01, 0.15))))
            at += float(random.uniform(0.3, 0.5))
        else:
            at += _CYCLE - into_cycle
    return found


def _times(random: np.random.Generator) -> list[float]:
    steps = random.uniform(0.15, 0.25, int(_END / 0.15))
    times = np.cumsum(steps)
    return [float(at) for at in times[times < _END]]


def _look(began: float, commits: list[tuple[float, float]], random: np.random.Generator) -> Operation:
    ended = began + float(random.uniform(0.01, 0.1))
    rows = 70 * sum(seen <= began for _, seen in commits)
    # The system is asked a little later than the table.
    asked = (began + ended) / 2
    known = [at for at, seen in commits if seen <= asked]
    silence = asked - known[-1] if known else None
    killed = _injected(2)
    consumer_lives = not killed <= began < killed + _FAULT_SECONDS + 0.4
    age = None if silence is None else silence + _AGE_AT_COMMIT
    values = {
        "rows": rows,
        "reported": silence is not None and silence > _LIMIT,
        "silence_seconds": silence,
        "age_seconds": age,
        "consumer_age_seconds": age if consumer_lives else None,
    }
    return _operation("look", began, ended, values)


def _operation(action: str, began: float, ended: float, attributes: dict[str, Any]) -> Operation:
    began_ns, ended_ns = int(began * SECOND_NS), int(ended * SECOND_NS)
    return Operation("harness", action, OperationOutcome.OK, began_ns, ended_ns, START_NS + began_ns, attributes)


def _began(operation: Operation) -> float:
    return operation.invoked_monotonic_ns / SECOND_NS


def _looks(after: float, until: float, **changed: object) -> Plant:
    """The looks that began between two moments changed."""

    def edit(operation: Operation) -> Operation:
        return with_attributes(operation, changed) if after <= _began(operation) < until else operation

    return lambda history: edit_operations(history, "look", edit)


def _without_looks(after: float, until: float) -> Plant:
    return lambda history: edit_operations(history, "look", lambda one: None if after <= _began(one) < until else one)


def _remeasured(gauge: str, after: float, until: float, measure: Callable[[float], float]) -> Plant:
    """One exported number as another clock would have it, between two moments."""

    def edit(operation: Operation) -> Operation:
        value = operation.attributes[gauge]
        if value is None or not after <= _began(operation) < until:
            return operation
        return with_attributes(operation, {gauge: measure(value)})

    return lambda history: edit_operations(history, "look", edit)


def _without_fault(name: str) -> Plant:
    def plant(history: History) -> History:
        kept = tuple(one for one in history.operations if one.action != "fault" or one.attributes["name"] != name)
        return replace(history, operations=kept)

    return plant


def _without_effect(history: History) -> History:
    return edit_operations(history, "fault", lambda one: with_attributes(one, {"effect": None}))


_FROZEN, _KILLED, _CONSUMER = (_injected(number) for number in range(3))
_DUE = _LIMIT + _DELAY
_RESUMED = _CYCLE - _ROWS_SECONDS
_OVER = _RESUMED + 0.5

SUITE = Suite(
    "freshness",
    clean_silences,
    (
        Defect("alarm_while_rows_come", "false_alarm", _looks(_KILLED - 0.6, _KILLED - 0.3, reported=True)),
        Defect("alarm_on_an_empty_table", "false_alarm", _looks(0.0, 0.5, reported=True)),
        Defect("frozen_feed_unnoticed", "unnoticed", _looks(_FROZEN, _FROZEN + _OVER, reported=False)),
        Defect("dead_consumer_unnoticed", "unnoticed", _looks(_CONSUMER, _CONSUMER + _OVER, reported=False)),
        Defect("noticed_late", "noticed_late", _looks(_KILLED, _KILLED + _DUE + 0.6, reported=False)),
        Defect("report_given_up", "noticed_late", _looks(_KILLED + _DUE + 0.5, _KILLED + _OVER, reported=False)),
        Defect("report_kept", "not_cleared", _looks(_FROZEN + 2.0, _FROZEN + _RESUMED + 1.6, reported=True)),
        Defect(
            "silence_gauge_frozen",
            "frozen_gauge",
            _remeasured("silence_seconds", _FROZEN + 0.6, _FROZEN + _RESUMED, lambda _: 0.5),
        ),
        Defect(
            "age_gauge_frozen",
            "frozen_gauge",
            _remeasured("age_seconds", _KILLED + 0.6, _KILLED + _RESUMED, lambda _: 4.0),
        ),
        Defect(
            "consumers_gauge_frozen",
            "frozen_gauge",
            _remeasured("consumer_age_seconds", 0.0, _END, lambda _: 0.01),
        ),
        Defect(
            "gauge_at_half_speed",
            "frozen_gauge",
            _remeasured("age_seconds", 0.0, _END, lambda value: value / 2),
        ),
        Defect(
            "silence_counted_from_the_wrong_moment",
            "wrong_silence",
            _remeasured("silence_seconds", 0.0, _END, lambda value: value - 0.6),
        ),
        Defect(
            "silence_overstated",
            "wrong_silence",
            _remeasured("silence_seconds", 0.0, _END, lambda value: value + 1.0),
        ),
        Defect("fault_left_out", "fault_missing", _without_fault("feed_killed"), Outcome.UNKNOWN),
        Defect("fault_without_effect", "fault_without_effect", _without_effect, Outcome.UNKNOWN),
        Defect("no_control", "control_too_short", _without_looks(_KILLED - _CONTROL, _KILLED), Outcome.UNKNOWN),
        Defect("silence_not_seen", "silence_too_short", _without_looks(_FROZEN + 1.0, _FROZEN + 4.0), Outcome.UNKNOWN),
        Defect("rows_not_seen_again", "not_resumed", _without_looks(_CONSUMER + _RESUMED, _END), Outcome.UNKNOWN),
        Defect("consumer_not_asked", "gauge_not_seen", _looks(0.0, _END, consumer_age_seconds=None), Outcome.UNKNOWN),
        Defect("health_did_not_answer", "no_answer", _looks(_FROZEN, _FROZEN + 0.5, reported=None), Outcome.UNKNOWN),
    ),
)
