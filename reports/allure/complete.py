"""A copy of Allure results, completed with what the card knows of their clauses.

Stages become epics, requirements features, weights severities. Long histories are attached as an excerpt, and a clause
that did not pass has the logs of its processes; pictures and timeline beside a history come along.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reports.allure.results import HISTORY_ATTACHMENT, Result, read_results
from reports.readiness.document import CardDocument, ClauseLine, CriterionLine

LONGEST_ATTACHMENT_BYTES = 65_536
_KINDS = {".svg": "image/svg+xml", ".json": "application/json", ".log": "text/plain", ".jsonl": "text/plain"}
_SEVERITIES = {"P0": "blocker", "P1": "critical", "P2": "critical", "P3": "normal", "P4": "normal"}
_RUNBOOK = re.compile(r"docs/runbooks/([\w-]+)\.md")
_STATUSES = {"pass": "passed", "fail": "failed", "unknown": "broken"}


def complete(run: Path, card: CardDocument, position: int, into: Path) -> int:
    """Write completed copies of a run's results to an empty directory; returns how many.

    Args:
        run: the run directory.
        card: a card made of it.
        position: which of the card's runs it is.
        into: where the results go.
    """
    into.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[ClauseLine]] = {}
    for line in card.clauses:
        if line.run == position:
            lines.setdefault(line.clause, []).append(line)
    criteria = {criterion.id: criterion for criterion in card.criteria}
    written = 0
    for result in read_results(run):
        of_result = [line for clause in result.clauses for line in lines.get(clause, ())]
        document = _completed(run, result, of_result, criteria, into)
        (into / result.path.name).write_text(json.dumps(document), encoding="utf-8")
        written += 1
    for container in (run / "allure").glob("*-container.json"):
        shutil.copy(container, into / container.name)
    stages = {"name": "readiness", "score": card.score, "ruler": card.ruler.version, "decision": card.verdict.decision}
    properties = "".join(f"{name}={value}\n" for name, value in stages.items())
    (into / "environment.properties").write_text(properties, encoding="utf-8")
    return written


def _completed(
    run: Path, result: Result, lines: list[ClauseLine], criteria: Mapping[str, CriterionLine], into: Path
) -> dict[str, Any]:
    document = dict(result.document)
    attachments = [_copied(result, attachment, into) for attachment in document.get("attachments", ())]
    if lines:
        worst = max(lines, key=lambda line: ("pass", "unknown", "fail").index(line.verdict))
        document["name"] = worst.title or document.get("name", worst.clause)
        document["status"] = _STATUSES[worst.verdict]
        document["description"] = _description(lines)
        requirements = list(
            dict.fromkeys(claim.rstrip("abcdefghijklmnopqrstuvwxyz") for line in lines for claim in line.claims)
        )
        known = [criteria[name] for name in requirements if name in criteria]
        document["labels"] = _labels(document.get("labels", []), known, lines)
        document["links"] = [*document.get("links", []), *_links(known, lines)]
        for line in lines:
            attachments += [
                _attached(run / figure, into, f"{line.clause} {Path(figure).name}") for figure in line.figures
            ]
        logs = run / "logs" / result.test
        if worst.verdict != "pass" and logs.is_dir():
            attachments += [_attached(path, into, path.name) for path in sorted(logs.glob("*.log"))]
    document["attachments"] = attachments
    return document


def _description(lines: Iterable[ClauseLine]) -> str:
    told = []
    for line in lines:
        told.append(f"**{line.clause}** {line.verdict}: {line.reason}")
        told += [f"- {finding.kind}: {finding.detail} ({finding.count})" for finding in line.findings[:20]]
        if line.remedy:
            told.append(f"Remedy: {line.remedy}")
    return "\n\n".join(told)


def _labels(kept: list[dict[str, str]], known: list[CriterionLine], lines: list[ClauseLine]) -> list[dict[str, str]]:
    """Labels with epic and severity by the gravest stage, features by requirement; those that are there stay."""
    added = [{"name": "epic", "value": stage} for stage in dict.fromkeys(criterion.stage for criterion in known)]
    added += [{"name": "feature", "value": criterion.id} for criterion in known]
    added += [{"name": "story", "value": line.clause} for line in lines]
    if known and not any(label.get("name") == "severity" for label in kept):
        added.append({"name": "severity", "value": min((severity(c.stage) for c in known), key=_grave)})
    return [*kept, *(label for label in added if label not in kept)]


def severity(stage: str) -> str:
    """Allure's word for how much a stage matters."""
    return _SEVERITIES.get(stage, "minor")


def _grave(word: str) -> int:
    return ("blocker", "critical", "normal", "minor").index(word)


def _links(known: Iterable[CriterionLine], lines: Iterable[ClauseLine]) -> list[dict[str, str]]:
    links = [{"name": one.id, "url": f"requirements.html#{one.id}", "type": "link"} for one in known]
    books = dict.fromkeys(book for line in lines for book in _RUNBOOK.findall(line.remedy))
    return links + [
        {"name": f"runbook {book}", "url": f"../../../docs/runbooks/{book}.md", "type": "link"} for book in books
    ]


def _copied(result: Result, attachment: dict[str, str], into: Path) -> dict[str, str]:
    source = result.path.parent / Path(str(attachment.get("source", ""))).name
    if source.is_file():
        (into / source.name).write_bytes(_excerpt(source))
    if attachment.get("name") == HISTORY_ATTACHMENT and source.is_file() and _too_long(source):
        return {**attachment, "name": f"{HISTORY_ATTACHMENT} (excerpt)"}
    return attachment


def _attached(path: Path, into: Path, name: str) -> dict[str, str]:
    number = len(list(into.iterdir()))
    copy = into / f"{number}-{path.stem}-attachment{path.suffix}"
    copy.write_bytes(path.read_bytes() if path.suffix == ".svg" else _excerpt(path))
    shown = f"{name} (excerpt)" if path.suffix != ".svg" and _too_long(path) else name
    return {"name": shown, "source": copy.name, "type": _KINDS.get(path.suffix, "text/plain")}


def _too_long(path: Path) -> bool:
    return path.stat().st_size > LONGEST_ATTACHMENT_BYTES


def _excerpt(path: Path) -> bytes:
    """A text file, or its beginning and its end where it is long."""
    if not _too_long(path):
        return path.read_bytes()
    half = LONGEST_ATTACHMENT_BYTES // 2
    with path.open("rb") as file:
        first = file.read(half)
        file.seek(-half, 2)
        last = file.read()
    left_out = path.stat().st_size - len(first) - len(last)
    return first.rpartition(b"\n")[0] + f"\n... {left_out:,} bytes left out ...\n".encode() + last.partition(b"\n")[2]
