"""Write the tables of docs/degradation.md from the code; with --check only say whether they are current.

    python scripts/document_degradation.py [--check]

Exit status: 0, or 1 where the page is not current.
"""

import re
import sys
from pathlib import Path

from k2.resilience.degradation import Level, Threshold
from k2.resilience.shedding import SHEDS
from k2.resilience.signals import SIGNALS, Component, thresholds_of
from k2.settings import DegradationSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "degradation.md"
_LEVELS = (Level.DEGRADED, Level.CRITICAL, Level.SHUTDOWN)


def page(before: str) -> str:
    """The page with its tables as they must be; all else is kept."""
    for name, table in (("signals", _signals()), ("sheds", _sheds())):
        section = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        before, found = section.subn(lambda match, table=table: match[1] + table + match[2], before)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{PAGE} has no section for {name}")
    return before


def _signals() -> str:
    rows = ["| process | signal | what it is | DEGRADED | CRITICAL | SHUTDOWN |\n", "|---|---|---|---|---|---|\n"]
    for component in Component:
        thresholds = thresholds_of(component, DegradationSettings())
        for signal in SIGNALS:
            if component in signal.most:
                cells = (_band(thresholds, signal.name, level) for level in _LEVELS)
                rows.append(f"| {component} | `{signal.name}` | {signal.meaning} | {' | '.join(cells)} |\n")
    return "".join(rows)


def _band(thresholds: tuple[Threshold, ...], signal: str, level: Level) -> str:
    for threshold in thresholds:
        if (threshold.signal, threshold.level) == (signal, level):
            return f"{_number(threshold.enter)}, {_number(threshold.leave)}"
    return "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _sheds() -> str:
    rows = [f"| {shed.component} | {shed.level.name} | `{shed.what}` | {shed.effect} |\n" for shed in SHEDS]
    return "".join(("| process | from | `what` | what becomes of it |\n", "|---|---|---|---|\n", *rows))


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    before = PAGE.read_text(encoding="utf-8")
    if arguments == ["--check"]:
        if before == page(before):
            return 0
        print(f"{PAGE} is not current: run python scripts/document_degradation.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(before), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
