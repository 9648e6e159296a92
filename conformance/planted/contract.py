"""What the checker of the OpenAPI contract must catch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes, with_parameters

_OPERATIONS = ("GET /v1/trades", "GET /health", "POST /v1/trades/query")
_CHECKS = ("not_a_server_error", "response_schema_conformance")
_CASES = 30


def clean_contract(seed: int) -> History:
    """Every operation tried, some requests answered and some refused, and every check passed."""
    random = np.random.default_rng(seed)
    events = []
    for number, name in enumerate(_OPERATIONS):
        refused = int(random.integers(1, _CASES))
        attributes: dict[str, Any] = {
            "operation": name,
            "phase": "fuzzing",
            "cases": _CASES,
            "statuses": {"200": _CASES - refused, "422": refused},
            "checks": list(_CHECKS),
            "failures": [],
        }
        events.append(operation("api", "contract", START_NS + number * SECOND_NS, attributes))
    parameters = {
        "minimum_samples": 90,
        "operations": list(_OPERATIONS),
        "required_checks": list(_CHECKS),
        "minimum_cases": 90,
    }
    return History(Header("planted/contract", (), "contract", seed, "embedded", START_NS, parameters), tuple(events))


def _at_one(change: Callable[[dict[str, Any]], dict[str, object]]) -> Plant:
    return lambda history: edit_operations(
        history,
        "contract",
        lambda one: (
            with_attributes(one, change(dict(one.attributes))) if one.attributes["operation"] == _OPERATIONS[0] else one
        ),
    )


SUITE = Suite(
    "contract",
    clean_contract,
    (
        Defect("an_answer_of_500", "server_error", _at_one(lambda one: {"statuses": {**one["statuses"], "500": 1}})),
        Defect("no_answer", "server_error", _at_one(lambda one: {"statuses": {**one["statuses"], "None": 1}})),
        Defect(
            "undocumented_field",
            "violation",
            _at_one(lambda _: {"failures": ["response_schema_conformance: /v1/trades?limit=1"]}),
        ),
        Defect(
            "operation_left_out",
            "operation_untried",
            lambda one: with_parameters(one, operations=[*_OPERATIONS, "GET /v1/gaps"]),
            Outcome.UNKNOWN,
        ),
        Defect(
            "check_left_out",
            "check_not_made",
            lambda one: with_parameters(one, required_checks=[*_CHECKS, "positive_data_acceptance"]),
            Outcome.UNKNOWN,
        ),
        Defect("few_cases", "too_few_cases", _at_one(lambda _: {"cases": 3}), Outcome.UNKNOWN),
        Defect(
            "everything_refused",
            "one_sided",
            lambda history: edit_operations(
                history, "contract", lambda one: with_attributes(one, {"statuses": {"422": _CASES}})
            ),
            Outcome.UNKNOWN,
        ),
    ),
)
