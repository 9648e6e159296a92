"""The card as it is published: card.json holds exactly this, and page and summary are made from nothing else.

card.schema.json is the JSON Schema of `CardDocument`. Points are numbers rounded down, never up: the score to one
decimal, all others to four. `evidence` of a claim holds positions in `clauses`, the worst first.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class RulerLine:
    """What was measured with. Scores of different versions cannot be compared."""

    version: str
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
    """The run and its environment; empty where run.json did not say."""

    run_id: str
    started_at: str
    ended_at: str
    duration_seconds: float
    profile: str
    stack: str
    git_commit: str
    git_dirty: bool
    command: str
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
class ClaimLine:
    """A claim with its state."""

    id: str
    text: str
    needs: str
    state: Literal["proven", "failed", "unknown", "not exercised"]
    reason: str
    share: float
    minimum_samples: int
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
    """An executed clause, or a case of one. `history_intact`: its history is there and has the hash."""

    clause: str
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
    history_intact: bool
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
class CardDocument:
    """The whole card. `score` is null when the evidence could not be read; `stage_reached` is null below the first."""

    format: Literal[1]
    ruler: RulerLine
    verdict: VerdictLine
    score: float | None
    stage_reached: str | None
    counts: CountLine
    absences: tuple[AbsenceLine, ...]
    stages: tuple[StageLine, ...]
    remedies: tuple[RemedyLine, ...]
    criteria: tuple[CriterionLine, ...]
    clauses: tuple[ClauseLine, ...]
    checkers: tuple[CheckerLine, ...]
    mutants: tuple[MutantLine, ...]
    run: RunLine
    problems: tuple[str, ...]


_ADAPTER = TypeAdapter(CardDocument)


def to_json(document: CardDocument) -> str:
    """The text of card.json."""
    return _ADAPTER.dump_json(document, indent=2).decode("utf-8") + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of card.json (draft 2020-12)."""
    schema = _ADAPTER.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The text of card.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"
