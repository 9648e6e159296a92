"""Whether a run and its card say what the evidence says: everything is judged and added up again.

Verified:
- every stored history leads the checkers of this checkout to the verdict, samples and findings that were kept;
- the checkers catch what the run says they catch;
- no history was changed, exchanged or left out;
- the stored card is the one that this evidence gives.

Not verified: that a history tells what happened. Who can rewrite a history and its verdict so that they agree can forge
both; the hash of all histories on the card, kept elsewhere, is what shows it.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from reports.readiness.assessment import Assessment
from reports.readiness.card import document
from reports.readiness.document import CardDocument, from_json
from reports.readiness.evidence import Verdict
from reports.readiness.parsing import describe

_SHOWN = 10


class Judge(Protocol):
    """The checkers, wherever they run."""

    def changed(self, run: Path) -> Sequence[str]:
        """One line for each verdict of the run that its history no longer leads to."""

    def kills(self, checkers: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """Checker -> planted defects, and how many of them it catches, of those named."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        forged: what does not agree with the evidence.
        missing: what has no evidence.
        checked: histories judged again.
    """

    forged: tuple[str, ...]
    missing: tuple[str, ...]
    checked: int

    @property
    def exit_code(self) -> int:
        """0 everything agrees, 2 evidence is missing, 3 something does not agree."""
        return 3 if self.forged else 2 if self.missing else 0


def verify(assessment: Assessment, card: Path, judge: Judge) -> Verification:
    """Judge the histories of an assessment's runs again, and compare with the card at a path, if there is one."""
    evidence = assessment.evidence
    forged = list(evidence.problems)
    # What has no history any more is missing; that its verdict cannot be judged again says nothing else.
    without = tuple(f"{exhibit.line.clause}: " for exhibit in evidence.exhibits if exhibit.gap)
    for directory in evidence.directories:
        forged += [f"{directory.name}: {line}" for line in judge.changed(directory) if not line.startswith(without)]
    forged += _checker_differences(assessment, judge)
    if card.exists():
        forged += _card_differences(card, document(assessment, card.parent))
    missing = [
        f"{exhibit.line.clause}: {exhibit.gap}"
        for exhibit in evidence.exhibits
        if exhibit.gap and exhibit.line.verdict is not Verdict.UNKNOWN
    ]
    if not evidence.exhibits:
        missing.append("nothing was executed")
    checked = sum(not exhibit.gap for exhibit in evidence.exhibits)
    return Verification(tuple(dict.fromkeys(forged)), tuple(missing), checked)


def _checker_differences(assessment: Assessment, judge: Judge) -> list[str]:
    used = {exhibit.line.checker for exhibit in assessment.evidence.exhibits}
    records = {name: record for name, record in assessment.evidence.checkers.items() if name in used}
    kills = judge.kills(sorted(records)) if records else {}
    found = []
    for name, record in records.items():
        if (record.planted, record.caught) != kills.get(name):
            planted, caught = kills.get(name, (0, 0))
            found.append(
                f"checkers.jsonl: {name} is said to catch {record.caught} of {record.planted} planted defects, "
                f"it catches {caught} of {planted}"
            )
    return found


def _card_differences(path: Path, made: CardDocument) -> list[str]:
    try:
        stored = from_json(path.read_bytes())
    except ValidationError as error:
        return [f"{path.name}: it is no card of this format: {describe(error)}"]
    except OSError as error:
        return [f"{path.name} cannot be read: {error.strerror}"]
    if stored.ruler.sha256 != made.ruler.sha256:
        return [f"{path.name}: it was made with the ruler {stored.ruler.version}, this is {made.ruler.version}"]
    said, found = dataclasses.asdict(stored), dataclasses.asdict(made)
    differences = list(_differences("", said, found))
    more = [f"{path.name}: and {len(differences) - _SHOWN} more differences"] if len(differences) > _SHOWN else []
    return [f"{path.name}: {difference}" for difference in differences[:_SHOWN]] + more


def _differences(place: str, said: Any, found: Any) -> list[str]:
    """Where two values differ, as deep as they can be followed."""
    if isinstance(said, dict) and isinstance(found, dict):
        names = dict.fromkeys((*said, *found))
        return [line for name in names for line in _differences(f"{place}.{name}", said.get(name), found.get(name))]
    if isinstance(said, tuple) and isinstance(found, tuple) and len(said) == len(found):
        pairs = enumerate(zip(said, found, strict=True))
        return [line for number, (one, other) in pairs for line in _differences(f"{place}[{number}]", one, other)]
    return [] if said == found else [f"{place.lstrip('.')} is {_brief(said)}, the evidence gives {_brief(found)}"]


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
