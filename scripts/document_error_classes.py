"""Write docs/error-classes.md from the rules in k2/resilience/rules; with --check only say whether it is current.

    python scripts/document_error_classes.py [--check]

Exit status: 0, or 1 where the page is not current.
"""

import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from k2.resilience.rule import FailureClass, Rule
from k2.resilience.rules import RULES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "error-classes.md"
_OPENING = """\
# Error classes

Written by `python scripts/document_error_classes.py` from `k2/resilience/rules`; a test fails where the two differ, and
another where a library has an exception, or Kafka a code, that is not on this page.

| class | what it means | what K2 does | exit code |
|---|---|---|---|
| transient | the same request may succeed later | tries again, see below | exhausted: 75, nothing committed |
| permanent | one record is at fault | the message becomes a dead letter, its neighbours rows | none |
| fatal | trying again cannot help, no single record is at fault | stops at once | 78, or the more exact error's |

**Retries.** The consumer goes back to what the table holds and tries again, `retry.attempts` attempts in all. The first
wait is `retry.first_wait_seconds`, each next one twice that, none above `retry.longest_wait_seconds`; each is longer
by up to half of itself, at random. After a call that an open circuit breaker refused it lasts at least until the
breaker lets one through, see [degradation.md](degradation.md). Each retry is logged and counted in `k2_retries_total`.
The exit codes are those of [exit-codes.md](exit-codes.md).

A rule about an error's code goes before one about its class, one about its own class before one about a base class.
An exception without a rule counts as fatal, and travels on unchanged where it was not expected: it is a mistake that
needs its traceback. What the Kafka client reports while it polls is only logged where it is transient, since the client
connects again by itself.
"""


def page() -> str:
    """The page's text."""
    by_library = sorted(RULES, key=lambda rule: rule.library)
    sections = (_section(library, rules) for library, rules in groupby(by_library, key=lambda rule: rule.library))
    return "\n".join((_OPENING, *sections))


def _section(library: str, rules: Iterable[Rule]) -> str:
    order = list(FailureClass)
    rows = (
        f"| {_code_list(rule.exceptions)} | {_code_list(rule.codes)} | {rule.failure_class.value} | {rule.why} |\n"
        for rule in sorted(rules, key=lambda rule: (not rule.codes, order.index(rule.failure_class)))
    )
    return f"## {library}\n\n| exception | code | class | why |\n|---|---|---|---|\n{''.join(rows)}"


def _code_list(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments == ["--check"]:
        if PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not current: run python scripts/document_error_classes.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
