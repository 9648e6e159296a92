"""Attempts to leave the sandbox: none got out, nothing changed, and honest questions were answered all along.

Verified:
- read_outside: no answer held the secret that lies outside.
- got_out: no attempt was answered with a row.
- wrote: no attempt made, changed or deleted a file beside or in the warehouse.
- reconfigured: honest questions (how many rows, which settings) are answered the same before and after.
- broke_through: no attempt broke the server instead of being refused.
- as many different attempts as the plan demands were made through each door; otherwise the verdict is unknown.
- honest questions got an answer; otherwise refusing proves nothing, and the verdict is unknown.

Not verified:
- attempts nobody thought of.
- reads whose result never reached the answer.

Reads the operations `attempt` (attributes door, attempt, rows, secret_seen, files_changed, server_error) and `honest`
(door, before, after: answers by question, a list of rows each), and the parameter minimum_attempts (by door).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_Attempt = Mapping[str, Any]


def check(history: History) -> Verdict:
    """The verdict on a history of attempts; samples are the attempts that were made."""
    operations = history.of_action("attempt")
    made = [operation.attributes for operation in operations if operation.outcome == "ok"]
    unmade = tuple(str(operation.attributes["attempt"]) for operation in operations if operation.outcome != "ok")
    findings = [
        *_where(made, "read_outside", "the answer held the secret", lambda one: bool(one["secret_seen"])),
        *_where(made, "got_out", "it was answered with rows", lambda one: int(one["rows"]) > 0),
        *_where(made, "wrote", "files were made, changed or deleted", lambda one: bool(one["files_changed"])),
        *_where(made, "broke_through", "it broke the server", lambda one: bool(one["server_error"])),
        *_changes(history),
        *_too_few(history, made),
    ]
    if unmade:
        findings.append(doubt("unmade", "attempts could not be made", len(unmade), unmade))
    return conclude(len(made), findings, f"{len(made)} attempts were made and none got out")


def _where(made: Sequence[_Attempt], kind: str, detail: str, is_wrong: Callable[[_Attempt], bool]) -> Iterator[Finding]:
    wrong = tuple(f"{one['door']}: {one['attempt']}" for one in made if is_wrong(one))
    if wrong:
        yield Finding(kind, detail, len(wrong), wrong)


def _changes(history: History) -> Iterator[Finding]:
    honest = history.of_action("honest")
    if not honest:
        yield doubt("honest_untried", "no honest question was asked")
    for operation in honest:
        door, before, after = (operation.attributes.get(name) for name in ("door", "before", "after"))
        if operation.outcome != "ok" or not isinstance(before, dict) or not all(map(_is_answer, before.values())):
            yield doubt("honest_refused", f"{door}: honest questions were not answered")
        elif before != after:
            yield Finding("reconfigured", f"{door}: honest questions are answered otherwise than before")


def _is_answer(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _too_few(history: History, made: Sequence[_Attempt]) -> Iterator[Finding]:
    for door, wanted in history.header.parameters.get("minimum_attempts", {}).items():
        different = len({one["attempt"] for one in made if one["door"] == door})
        if different < wanted:
            yield doubt("too_few", f"{door}: {different} different attempts were made, {wanted} are demanded")
