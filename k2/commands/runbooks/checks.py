"""What is wrong with runbooks: their form, their links, their commands, and what of the platform they name.

Verified: the six parts in order, none empty; links and their anchors; marks of command blocks; each command's program,
and for k2 its commands, options and values; services; metrics and labels; a runbook for each alert and an alert for
each runbook.

Not verified: whether a command helps. What becomes of it, `execution` says.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from k2.commands.runbooks import deployment as deployments
from k2.commands.runbooks.deployment import Deployment
from k2.commands.runbooks.pages import PARTS, CommandBlock, Problem, Runbook, read_runbook
from k2.commands.runbooks.programs import (
    ASK,
    COMPOSE,
    HEALTHY,
    HOST_PROGRAMS,
    IMAGE_PROGRAMS,
    SHELL_BUILTINS,
    Inner,
    Mistake,
    read_compose,
    unknown_services,
)
from k2.commands.runbooks.shell import Command, read_script
from k2.observability.alerts.rule_files import Rule
from k2.observability.promql import read_expression

INDEX = "README.md"
PROCEDURES = frozenset(
    (
        "kafka-consumer-lag",
        "query-timeout",
        "schema-registry-down",
        "failure-recovery",
        "disaster-recovery",
        "checkpoint-corruption",
    )
)
"""Runbooks of no alert of their own."""
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_METRIC_SPAN = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?(?:$|[\s<>=])")
_SHELL_GIVES = frozenset(("PWD", "HOME", "PATH", "USER"))


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake and its place."""

    path: Path
    line: int
    what: str
    remedy: str


class CommandLine(Protocol):
    """Judges the arguments of `k2`."""

    def __call__(self, words: Sequence[str]) -> str | None:
        """What is wrong with them, or None."""


def check_all(pages: Sequence[Runbook], deployment: Deployment, k2: CommandLine) -> list[Finding]:
    """Every mistake in the pages, and in how they and the alerts fit together; pages in order, then alerts."""
    found = [finding for page in pages for finding in check_page(page, deployment, k2)]
    return [*found, *check_alerts(pages, deployment)]


def check_page(page: Runbook, deployment: Deployment, k2: CommandLine) -> Iterator[Finding]:
    """Every mistake in one page, by line."""
    problems = [*page.problems, *_links(page), *_metrics(page, deployment)]
    if page.path.name != INDEX:
        problems += _form(page)
    for block in page.blocks:
        problems += _block(block, deployment, k2)
    for problem in sorted(problems, key=lambda problem: problem.line):
        yield Finding(page.path, problem.line, problem.what, problem.remedy)


def check_alerts(pages: Sequence[Runbook], deployment: Deployment) -> Iterator[Finding]:
    """Alerts without a runbook, runbooks without an alert, and pairs that do not say the same."""
    by_name = {page.path.name: page for page in pages}
    led_to: set[str] = set()
    for alert in deployment.alerts.values():
        name = Path(_runbook(alert)).name
        led_to.add(name)
        if mistake := _wrong_annotation(alert, by_name.get(name)):
            yield Finding(alert.path, alert.line, *mistake)
        elif page := by_name.get(name):
            yield from _disagreements(alert, page)
    for name, page in by_name.items():
        if name not in led_to and page.path.stem not in PROCEDURES and name != INDEX:
            yield Finding(
                page.path, 1, "no alert leads here", f"see the annotations of {deployments.RULES}, or remove it"
            )


def _runbook(alert: Rule) -> str:
    return alert.annotations.get("runbook", "").partition("#")[0]


def _wrong_annotation(alert: Rule, page: Runbook | None) -> tuple[str, str] | None:
    if not _runbook(alert):
        return f"{alert.name} has no annotation runbook", "write runbook: docs/runbooks/<page>.md"
    if page is None or page.path.name == INDEX:
        return (
            f"{alert.name} leads to {_runbook(alert)}, which is not there",
            "write the page, or correct the annotation",
        )
    return None


def _disagreements(alert: Rule, page: Runbook) -> Iterator[Finding]:
    if page.title != alert.name and not any(alert.name in line for _, line in page.prose):
        yield Finding(page.path, 1, f"{alert.name} leads here and is not named", "name it under Related Monitoring")
    severity = alert.labels.get("severity", "")
    if page.title == alert.name and page.severity and page.severity != severity:
        remedy = f"write what {alert.path}:{alert.line} says, or change it there"
        yield Finding(page.path, 1, f"the severity is {page.severity}, of the alert {severity}", remedy)


def _form(page: Runbook) -> Iterator[Problem]:
    if not page.title:
        yield Problem(1, "no title", "begin with # and the alert's name")
    titles = [part.title for part in page.parts]
    for title in PARTS:
        if title not in titles:
            yield Problem(page.parts[-1].line if page.parts else 1, f"no part {title!r}", f"write ## {title}")
    for part in page.parts:
        if part.title not in PARTS:
            yield Problem(part.line, f"a part {part.title!r}", f"the parts are {', '.join(PARTS)}")
        elif titles.count(part.title) > 1:
            yield Problem(part.line, f"the part {part.title!r} is there more than once", "keep one")
        if not part.has_text:
            yield Problem(part.line, f"the part {part.title!r} is empty", "write it, or say that there is nothing")
    known = [title for title in titles if title in PARTS]
    if known != sorted(known, key=PARTS.index):
        yield Problem(1, f"the parts stand as {', '.join(known)}", f"put them in order: {', '.join(PARTS)}")
    yield from _severity(page)


def _severity(page: Runbook) -> Iterator[Problem]:
    at = next((part.line for part in page.parts if part.title == "Severity"), None)
    if at is not None and not page.severity:
        yield Problem(at, "the severity is not said first", "begin with **critical**, **high**, **medium** or **low**")


def _links(page: Runbook) -> Iterator[Problem]:
    for line, target in page.links:
        if _ELSEWHERE.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.path.parent / unquote(path)).resolve() if path else page.path
        if not file.exists():
            yield Problem(line, f"a link to {target}, which is not there", "correct it, or write the page")
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file, page):
            yield Problem(line, f"{target} has no heading {anchor!r}", "link to a heading that is there")


def _anchors(file: Path, page: Runbook) -> frozenset[str]:
    if file == page.path.resolve() or file == page.path:
        return page.anchors
    return read_runbook(file).anchors


def _metrics(page: Runbook, deployment: Deployment) -> Iterator[Problem]:
    for line, text in page.prose:
        for span in _CODE_SPAN.findall(text):
            name = _METRIC_SPAN.match(span)
            if name and deployments.is_ours(name[1]):
                yield from _expression(span, line, deployment)


def _expression(expression: str, line: int, deployment: Deployment) -> Iterator[Problem]:
    try:
        found = read_expression(expression).selectors
    except ValueError as error:
        yield Problem(line, f"{expression!r} cannot be read: {error}", "correct the expression")
        return
    for selector in found:
        # People write a histogram by its own name.
        labels = deployment.series.get(selector.metric, deployment.series.get(f"{selector.metric}_bucket"))
        if labels is None:
            yield Problem(line, f"no metric is called {selector.metric}", "docs/metrics.md lists those there are")
        elif unknown := sorted(selector.labels - labels):
            yield Problem(line, f"{selector.metric} has no label {unknown[0]!r}", f"it has {', '.join(sorted(labels))}")


def _block(block: CommandBlock, deployment: Deployment, k2: CommandLine) -> Iterator[Problem]:
    script = read_script(block.text, block.line)
    for line, reason in script.unread:
        yield Problem(line, f"a runbook's commands are simple ones; not read: {reason}", "write one command a line")
    if not script.commands and not script.unread:
        yield Problem(block.line, "the block holds no command", "write one, or do not mark it")
    known = {*deployment.variables, *script.assigned, *block.given, *_SHELL_GIVES}
    for line, name in script.used:
        if name not in known and not name.endswith("_PORT"):
            yield Problem(line, f"${name} is set by nobody", f"mark the block given={name}, and say where it is from")
    used = {name for _, name in script.used}
    for name in block.given:
        if name not in used:
            yield Problem(block.line, f"the block is given {name} and does not use it", "take it out of given=")
    for command in script.commands:
        for mistake in _command(command, deployment, k2):
            yield Problem(command.line, mistake.what, mistake.remedy)


def _command(command: Command, deployment: Deployment, k2: CommandLine) -> Iterator[Mistake]:
    program, *words = command.words
    if program == "k2":
        yield from _k2(words, k2)
    elif program in deployment.functions:
        if program == ASK:
            expression = " ".join(words)
            yield from (Mistake(p.what, p.remedy) for p in _expression(expression, command.line, deployment))
        elif program == HEALTHY:
            yield from unknown_services(words, deployment.services)
        elif program == COMPOSE:
            for read in read_compose(words, deployment.services):
                yield from _inside(read, k2) if isinstance(read, Inner) else (read,)
    elif program not in HOST_PROGRAMS and program not in SHELL_BUILTINS:
        yield Mistake(
            f"no program {program!r} is known on the reader's machine",
            "use one that is, or add it to k2/commands/runbooks/programs.py",
        )


def _inside(inner: Inner, k2: CommandLine) -> Iterator[Mistake]:
    program, *words = inner.words
    if program not in IMAGE_PROGRAMS[inner.image]:
        yield Mistake(
            f"the image {inner.image} has no program {program!r}",
            f"it has {', '.join(sorted(IMAGE_PROGRAMS[inner.image]))}",
        )
    elif program == "k2":
        yield from _k2(words, k2)


def _k2(words: Sequence[str], k2: CommandLine) -> Iterator[Mistake]:
    if problem := k2(words):
        yield Mistake(f"k2 {' '.join(words)}: {problem}", "see k2 --help")
