"""Plain facts: what was seen, beside what must be seen.

Verified:
- differs: each fact that was looked at is as expected.
- missing: every fact the plan names was looked at; otherwise the verdict is unknown.

Not verified:
- whether the expectation is the right one: it is written in the clause, for people to read.

Reads the operations `fact` (attributes name, expected, observed; JSON values) and the parameter required_facts (names).
A fact with a null `observed` and an expectation counts as a difference: nothing was seen.
"""

from collections.abc import Iterator

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History


def check(history: History) -> Verdict:
    """The verdict on a history of facts; samples are the facts looked at."""
    facts = [operation.attributes for operation in history.of_action("fact")]
    samples = sum(int(fact.get("samples", 1)) for fact in facts)
    return conclude(samples, _findings(history), f"{samples} facts are as they must be")


def _findings(history: History) -> Iterator[Finding]:
    seen: set[str] = set()
    for operation in history.of_action("fact"):
        fact = operation.attributes
        name = str(fact["name"])
        seen.add(name)
        if operation.outcome != "ok":
            yield doubt("missing", f"{name} could not be looked at: {fact.get('error', operation.outcome)}")
        elif fact["observed"] != fact["expected"]:
            yield Finding("differs", f"{name} is {_short(fact['observed'])}, must be {_short(fact['expected'])}")
    for name in history.header.parameters.get("required_facts", ()):
        if name not in seen:
            yield doubt("missing", f"{name} was not looked at")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
