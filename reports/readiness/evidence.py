"""What a run left behind, as typed values.

Each says which file of a run directory it is of; reading.py fills them. A verdict counts only together with what backs
it, so the two are kept as one exhibit.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from reports.readiness.registry import Stack

HARNESS_ERROR_PREFIX = "harness error: "

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
_STRICT = ConfigDict(strict=True)


class Verdict(StrEnum):
    """What a clause says about the system."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class MutantVerdict(StrEnum):
    """What became of a deliberately broken system."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing a checker found, such as lost records: how many, and some of them."""

    __pydantic_config__ = _STRICT

    kind: str
    detail: str
    count: Count = 1
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """One executed clause, or one case of a parametrised one; verdicts.jsonl."""

    __pydantic_config__ = _STRICT

    clause: Name
    title: str
    claims: Annotated[tuple[Name, ...], Field(min_length=1)]
    verdict: Verdict
    reason: str
    samples: Count
    minimum_samples: Count
    stack: Stack
    seconds: Seconds
    checker: str | None
    retries: Count = 0
    remedy: str = ""
    history: str | None = None
    history_sha256: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def family(self) -> str:
        """The clause's name without its case."""
        return self.clause.partition("/")[0]

    @property
    def harness_error(self) -> bool:
        """Whether the clause ended because the harness broke."""
        return self.verdict is Verdict.UNKNOWN and self.reason.startswith(HARNESS_ERROR_PREFIX)


@dataclass(frozen=True, slots=True)
class CheckerRecord:
    """How a checker did on planted defects and on clean histories; checkers.jsonl."""

    __pydantic_config__ = _STRICT

    checker: Name
    planted: Count
    caught: Count
    missed: tuple[str, ...]
    clean_runs: Count
    false_alarms: Count

    @property
    def can_fail(self) -> bool:
        """Whether it has shown that it catches what it must."""
        return self.planted > 0 and self.caught == self.planted and not self.missed


@dataclass(frozen=True, slots=True)
class MutantRecord:
    """One whole-system mutant and the clause that had to notice it; mutants.jsonl."""

    __pydantic_config__ = _STRICT

    mutant: Name
    clause: Name
    verdict: MutantVerdict
    reason: str

    def concerns(self, verdict: ClauseVerdict) -> bool:
        """Whether the verdict is of the mutant's clause or of a case of it."""
        return verdict.clause == self.clause or verdict.clause.startswith(f"{self.clause}/")


@dataclass(frozen=True, slots=True)
class OfferedClause:
    """A clause the suite has, whether or not it was selected; clauses.jsonl."""

    __pydantic_config__ = _STRICT

    clause: Name
    claims: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class SkippedClause:
    """A clause that was started and could not be exercised there, and why; skipped.jsonl."""

    __pydantic_config__ = _STRICT

    clause: Name
    claims: tuple[Name, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Host:
    """The machine of the run."""

    __pydantic_config__ = _STRICT

    cores: int | None = None
    memory_bytes: int | None = None
    load_average: tuple[float, ...] = ()
    python: str | None = None
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The run as a whole; run.json. `ruler` is the full hash of the ruler it was made with, where it says."""

    __pydantic_config__ = _STRICT

    format: Literal[1]
    run_id: Name
    started_at: AwareDatetime
    profile: str
    stack: Stack
    ended_at: AwareDatetime | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    command: str | tuple[str, ...] = ""
    exit_status: int | None = None
    ruler: str | None = None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A verdict, and what backs it.

    Attributes:
        line: the verdict.
        run: position of its run in `Evidence.runs`.
        gap: why no history backs it; empty where one is there, unchanged, of this clause.
        figures: pictures beside its history, and its timeline as data; relative to the run's directory.
    """

    line: ClauseVerdict
    run: int = 0
    gap: str = ""
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything readable of one run or of several of one commit, and every reason not to trust it.

    Attributes:
        runs: those whose run.json can be used.
        directories: of all runs, in the order they were named.
        exhibits: executed clauses, in the order of the files.
        checkers: by name; of several records of one checker the worst.
        mutants: in the order of the files, each once.
        offered: claim ids that some clause of the suite cites; None when a run does not say.
        skipped: claim id -> why a clause that cites it could not be exercised.
        problems: one line each; empty when the harness wrote what it promises.
    """

    runs: tuple[RunRecord, ...] = ()
    directories: tuple[Path, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    checkers: dict[str, CheckerRecord] = field(default_factory=dict)
    mutants: tuple[MutantRecord, ...] = ()
    offered: frozenset[str] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def stacks(self) -> tuple[Stack, ...]:
        """The stacks of the runs and of their verdicts, each once, the weakest first."""
        found = {run.stack for run in self.runs} | {exhibit.line.stack for exhibit in self.exhibits}
        return tuple(stack for stack in Stack if stack in found)

    def on(self, stack: Stack) -> "Evidence":
        """What was seen on one stack."""
        return replace(
            self,
            runs=tuple(run for run in self.runs if run.stack is stack),
            exhibits=tuple(exhibit for exhibit in self.exhibits if exhibit.line.stack is stack),
        )
