"""Alerts, runbooks and operations documents, read plainly and without K2's own reader of runbooks."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULES = Path("deploy") / "prometheus" / "rules"
PARTS = ["Severity", "Symptoms", "Diagnosis", "Resolution", "Prevention", "Related Monitoring"]
_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert, and where its annotation says what to do about it."""

    name: str
    severity: str
    runbook: str


def alert_rules(root: Path) -> list[AlertRule]:
    """Every alert of the rule files."""
    return [
        AlertRule(rule["alert"], rule["labels"]["severity"], rule["annotations"]["runbook"]) for rule in _alerts(root)
    ]


def alert_dashboards(root: Path) -> set[str]:
    """The dashboards that alerts lead to."""
    return {rule["annotations"]["dashboard"] for rule in _alerts(root)}


def _alerts(root: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted((root / RULES).glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def filled_parts(page: Path) -> list[str]:
    """The parts of a page in order, without those that hold nothing; of a page that is not there none."""
    if not page.is_file():
        return []
    pieces = _HEADING.split(page.read_text())
    return [title for title, text in zip(pieces[1::2], pieces[2::2], strict=True) if text.strip()]


def names(page: Path, word: str) -> bool:
    """Whether a page is there and has this word in it."""
    return page.is_file() and re.search(rf"\b{re.escape(word)}\b", page.read_text()) is not None


def dead_links(pages: Iterable[Path]) -> Iterator[str]:
    """Links of pages to files that are not there, as "page -> target"."""
    for page in pages:
        for target in _LINK.findall(_CODE.sub("", page.read_text())):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{page.name} -> {target}"
