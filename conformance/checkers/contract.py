"""Requests made up from the OpenAPI document: no server error, and nothing answered that the document does not say.

Verified:
- server_error: every request was answered, and with a status below 500.
- violation: every check of every answer succeeded.
- that every operation of the document was tried, in all often enough, with answers of both kinds, and that the named
  checks were among those made; otherwise the verdict is unknown.

Not verified:
- that the document says everything: a rule between two parameters cannot be said in it.
- that answers are true; other clauses compare them with the tables.

Reads the operation `contract`: operation, phase, cases, statuses {status: count}, checks (names), failures (texts); and
the parameters operations (names), required_checks, minimum_cases.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_SERVER_ERROR, _CLIENT_ERROR = 500, 400
_NOT_ANSWERED = "None"


def check(history: History) -> Verdict:
    """The verdict on a run over the document; samples are the requests."""
    outcomes = [operation.attributes for operation in history.of_action("contract")]
    statuses: Counter[str] = Counter()
    for one in outcomes:
        statuses.update(one["statuses"])
    cases = sum(int(one["cases"]) for one in outcomes)
    broken = {status: count for status, count in statuses.items() if _is_broken(status)}
    failures = tuple(f"{one['operation']}: {failure}" for one in outcomes for failure in one["failures"])
    findings = [
        *([Finding("server_error", f"answers by status: {broken}", sum(broken.values()))] if broken else []),
        *([Finding("violation", "answers break the document", len(failures), failures)] if failures else []),
        *_gaps_in_evidence(outcomes, statuses, cases, history.header.parameters),
    ]
    return conclude(cases, findings, f"{cases} requests over {len({one['operation'] for one in outcomes})} operations")


def _is_broken(status: str) -> bool:
    return status == _NOT_ANSWERED or int(status) >= _SERVER_ERROR


def _gaps_in_evidence(
    outcomes: Sequence[Mapping[str, Any]], statuses: Counter[str], cases: int, parameters: Mapping[str, Any]
) -> Iterator[Finding]:
    untried = sorted(set(parameters["operations"]) - {one["operation"] for one in outcomes if one["cases"]})
    if untried:
        yield doubt("operation_untried", "operations were not tried", len(untried), tuple(untried))
    unmade = sorted(set(parameters["required_checks"]) - {name for one in outcomes for name in one["checks"]})
    if unmade:
        yield doubt("check_not_made", "checks were not made", len(unmade), tuple(unmade))
    if cases < int(parameters["minimum_cases"]):
        yield doubt("too_few_cases", f"{cases} requests, {parameters['minimum_cases']} were planned at least")
    kinds = {int(status) >= _CLIENT_ERROR for status in statuses if not _is_broken(status)}
    if kinds != {True, False}:
        yield doubt("one_sided", "there were not both answers and refusals")
