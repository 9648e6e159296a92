"""What a run of runbooks says afterwards: one Markdown page, and counts."""

from collections import Counter
from collections.abc import Sequence

from k2.commands.runbooks.execution import Execution, Result

_WRONG = (Result.FAILED, Result.NOT_GIVEN)


def counts(executions: Sequence[Execution]) -> dict[str, int]:
    """How many blocks had each result; every result is named."""
    found = Counter(one.result for one in executions)
    return {result.value: found[result] for result in Result}


def is_wrong(execution: Execution) -> bool:
    """Whether a block must be mended, or run again with what it needs."""
    return execution.result in _WRONG


def summary(executions: Sequence[Execution]) -> str:
    """One line: how many blocks were run, and what became of them."""
    found = counts(executions)
    seconds = sum(one.seconds for one in executions)
    told = ", ".join(f"{count} {result}" for result, count in found.items() if count)
    return f"{len(executions)} blocks in {seconds:.0f} s: {told or 'none'}"


def markdown(executions: Sequence[Execution]) -> str:
    """A page with a line for each block, and the output of those that are wrong."""
    lines = ["# Runbooks, executed", "", summary(executions), ""]
    lines += ["| block | part | result | s | |", "|---|---|---|---|---|"]
    for one in executions:
        what = " ".join(dict.fromkeys(word for word in (one.block.phase, "destructive" * one.block.is_destructive)))
        took = "" if one.exit_code is None else f"{one.seconds:.1f}"
        lines.append(f"| {place(one)} | {what.strip()} | {one.result} | {took} | {_cell(one.reason)} |")
    for one in executions:
        if is_wrong(one):
            lines += ["", f"## {place(one)}", "", one.reason, "", "```", one.block.text, "```", ""]
            lines += ["```", one.output.rstrip() or "(no output)", "```"]
    return "\n".join(lines) + "\n"


def place(execution: Execution) -> str:
    """Page and line of a block."""
    return f"{execution.page}:{execution.block.line}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
