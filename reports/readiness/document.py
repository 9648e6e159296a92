"""The card as it is published: card.json holds exactly this, and page and summary are made from nothing else.

card.schema.json is the JSON Schema of `CardDocument`. Points are numbers rounded down, never up: the score to one
decimal, all others to four. `evidence` of a claim holds positions in `clauses`, the worst first; `run` of a clause is a
position in `runs`. Paths of a clause are relative to its run, whose `directory` is relative to the card.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

FORMAT: Final = 2


State = Literal["proven", "failed", "unknown", "not exercised"]


@dataclass(frozen=True, slots=True)
class RulerLine:
    """What was measured with. Scores of different versions cannot be compared. `sha256` is over the three others."""

    version: str
    sha256: str
    rubric_sha256: str
    requirements_sha256: str
    checkers_sha256: str
    requirements: int
    claims: int
    minimum: float


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """The gate's decision at the ruler's minimum."""

    decision: Literal["pass", "system failed", "not enough evidence", "harness broke"]
    exit_code: int
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run and its environment; empty where run.json did not say. `ruler` is the hash it was made with."""

    run_id: str
    directory: str
    started_at: str
    ended_at: str
    duration_seconds: float
    profile: str
    stack: str
    git_commit: str
    git_dirty: bool
    command: str
    ruler: str
    cores: int | None
    memory_bytes: int | None
    load_average: tuple[float, ...]
    python: str
    kernel: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class CountLine:
    """Claims in each state."""

    proven: int
    failed: int
    unknown: int
    not_exercised: int


@dataclass(frozen=True, slots=True)
class AbsenceLine:
    """One reason why claims were not exercised."""

    reason: str
    claims: int
    points: float


@dataclass(frozen=True, slots=True)
class StageLine:
    """A stage: its points, the score that reaches it, and where its points went."""

    id: str
    title: str
    points: float
    threshold: float
    earned: float
    failed: float
    unknown: float
    not_exercised: float


@dataclass(frozen=True, slots=True)
class RemedyLine:
    """Something to do, and the most it would bring."""

    headline: str
    detail: str
    points: float
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StackStateLine:
    """What one stack alone says of a claim."""

    stack: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimLine:
    """A claim with its state over all stacks, and on each.

    `share` is what it earns of its part: 0, 0.5 or 1. `line` is where the registry says it, from 1.
    """

    id: str
    text: str
    line: int
    needs: str
    state: State
    reason: str
    share: float
    minimum_samples: int
    waived: bool
    stacks: tuple[StackStateLine, ...]
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CriterionLine:
    """A requirement with its points."""

    id: str
    title: str
    text: str
    area: str
    stage: str
    weight: float
    points: float
    state: Literal["proven", "partly proven", "failed", "unknown", "not exercised"]
    reason: str
    claims: tuple[ClaimLine, ...]


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One kind of thing a checker found: how many, and some of them."""

    kind: str
    detail: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClauseLine:
    """An executed clause, or a case of one. `gap` says why no history backs it; empty where one does, unchanged."""

    clause: str
    run: int
    title: str
    claims: tuple[str, ...]
    verdict: Literal["pass", "fail", "unknown"]
    reason: str
    remedy: str
    samples: int
    minimum_samples: int
    stack: str
    seconds: float
    retries: int
    checker: str
    history: str
    history_sha256: str
    gap: str
    figures: tuple[str, ...]
    findings: tuple[FindingLine, ...]


@dataclass(frozen=True, slots=True)
class CheckerLine:
    """A checker's kill rate and its false alarms."""

    checker: str
    planted: int
    caught: int
    missed: tuple[str, ...]
    clean_runs: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class MutantLine:
    """A whole-system mutant."""

    mutant: str
    clause: str
    verdict: Literal["killed", "survived", "unknown"]
    reason: str


@dataclass(frozen=True, slots=True)
class FlakyLine:
    """A clause that did not end the same way each time it ran."""

    clause: str
    detail: str
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaiverLine:
    """A claim that may stay unproven for a while, and the most points the score can show meanwhile."""

    claim: str
    owner: str
    reason: str
    expires: str
    cap: float
    expired: bool


@dataclass(frozen=True, slots=True)
class CardDocument:
    """The whole card.

    `score` is what was earned, `waived_score` what counts while waivers are there, never more; both are null when the
    evidence could not be read. `stage_reached` is null below the first. `evidence_sha256` is over the hashes of all
    histories that back a verdict.
    """

    format: Literal[2]
    ruler: RulerLine
    verdict: VerdictLine
    score: float | None
    waived_score: float | None
    stage_reached: str | None
    evidence_sha256: str
    stacks: tuple[str, ...]
    counts: CountLine
    absences: tuple[AbsenceLine, ...]
    stages: tuple[StageLine, ...]
    remedies: tuple[RemedyLine, ...]
    criteria: tuple[CriterionLine, ...]
    clauses: tuple[ClauseLine, ...]
    flaky: tuple[FlakyLine, ...]
    waivers: tuple[WaiverLine, ...]
    checkers: tuple[CheckerLine, ...]
    mutants: tuple[MutantLine, ...]
    runs: tuple[RunLine, ...]
    problems: tuple[str, ...]


_ADAPTER = TypeAdapter(CardDocument)


def to_json(document: CardDocument) -> str:
    """The text of card.json."""
    return _ADAPTER.dump_json(document, indent=2).decode("utf-8") + "\n"


def from_json(text: str | bytes) -> CardDocument:
    """The card in a text of card.json.

    Raises:
        pydantic.ValidationError: it is no card of this format.
    """
    return _ADAPTER.validate_json(text)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of card.json (draft 2020-12)."""
    schema = _ADAPTER.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The text of card.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"
