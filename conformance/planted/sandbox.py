"""What the checker of the sandbox must catch."""

from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Operation
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes

_ATTEMPTS = 12
_DOORS = ("sql", "api")
_HONEST = {"trades": ["(1200,)"], "configuration": ["('5e1f',)"]}


def clean_sandbox(seed: int) -> History:
    """Attempts through two doors, each refused or answered without rows."""
    random = np.random.default_rng(seed)
    events: list[Operation] = []
    for door in _DOORS:
        for number in range(_ATTEMPTS):
            at_ns = START_NS + len(events) * SECOND_NS
            events.append(operation("harness", "attempt", at_ns, _attempt(door, number, random)))
        asked = {"door": door, "before": _HONEST, "after": _HONEST}
        events.append(operation("harness", "honest", START_NS + len(events) * SECOND_NS, asked))
    parameters = {"minimum_samples": 2 * _ATTEMPTS, "minimum_attempts": dict.fromkeys(_DOORS, _ATTEMPTS)}
    return History(Header("planted/sandbox", (), "sandbox", seed, "embedded", START_NS, parameters), tuple(events))


def _attempt(door: str, number: int, random: np.random.Generator) -> dict[str, Any]:
    refused = bool(random.integers(0, 2))
    return {
        "variant": f"{door}_{number}",
        "door": door,
        "attempt": f"attempt {number}",
        "rows": 0,
        "secret_seen": False,
        "files_changed": False,
        "server_error": False,
        "error": "Permission Error" if refused else None,
    }


def _attempt_with(**changed: object) -> Plant:
    return lambda history: edit_operations(history, "attempt", lambda one: with_attributes(one, changed), "sql_3")


def _honest_with(**changed: object) -> Plant:
    return lambda history: edit_operations(history, "honest", lambda one: with_attributes(one, changed))


def _left_out(history: History) -> History:
    return edit_operations(history, "attempt", lambda _: None, "api_3")


def _nobody_asked(history: History) -> History:
    return edit_operations(history, "honest", lambda _: None)


SUITE = Suite(
    "sandbox",
    clean_sandbox,
    (
        Defect("secret_in_the_answer", "read_outside", _attempt_with(rows=1, secret_seen=True)),
        Defect("file_names_answered", "got_out", _attempt_with(rows=3, error=None)),
        Defect("file_written_though_refused", "wrote", _attempt_with(files_changed=True)),
        Defect("server_broke", "broke_through", _attempt_with(server_error=True)),
        Defect("setting_changed", "reconfigured", _honest_with(after={**_HONEST, "configuration": ["('77aa',)"]})),
        Defect("rows_gone", "reconfigured", _honest_with(after={**_HONEST, "trades": ["(0,)"]})),
        Defect("one_attempt_left_out", "too_few", _left_out, Outcome.UNKNOWN),
        Defect("everything_refused", "honest_refused", _honest_with(before={"trades": "refused"}), Outcome.UNKNOWN),
        Defect("honest_question_not_asked", "honest_untried", _nobody_asked, Outcome.UNKNOWN),
    ),
)
