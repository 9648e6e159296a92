"""What a run left behind: run.json, verdicts.jsonl, checkers.jsonl, mutants.jsonl and, where written, clauses.jsonl.

A file that is missing and a line that is malformed become problems, never defaults: a reader that guesses would turn a
broken harness into a verdict about the system.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from reports.readiness.history_hash import history_sha256
from reports.readiness.parsing import describe
from reports.readiness.registry import Registry, Stack

HARNESS_ERROR_PREFIX = "harness error: "

T = TypeVar("T")
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
    """The run as a whole; run.json."""

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


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything readable of a run, and every reason not to trust it.

    Attributes:
        run: None when run.json cannot be used.
        clauses: executed clauses, in the order of the file.
        checkers: by name.
        mutants: in the order of the file.
        offered: claim ids that some clause of the suite cites; None when the run does not say.
        intact: histories, as the clauses name them, that are there with the hash their clause gives.
        problems: one line each; empty when the harness wrote what it promises.
    """

    run: RunRecord | None
    clauses: tuple[ClauseVerdict, ...] = ()
    checkers: dict[str, CheckerRecord] = field(default_factory=dict)
    mutants: tuple[MutantRecord, ...] = ()
    offered: frozenset[str] | None = None
    intact: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


_RUN = TypeAdapter(RunRecord)
_CLAUSE = TypeAdapter(ClauseVerdict)
_CHECKER = TypeAdapter(CheckerRecord)
_MUTANT = TypeAdapter(MutantRecord)
_OFFERED = TypeAdapter(OfferedClause)


def read_evidence(directory: Path, registry: Registry) -> Evidence:
    """The evidence in a run directory, checked against the registry."""
    problems: list[str] = []
    run = _read_run(directory / "run.json", problems.append)
    clauses = _read_lines(directory / "verdicts.jsonl", _CLAUSE, problems.append)
    checker_records = _read_lines(directory / "checkers.jsonl", _CHECKER, problems.append)
    mutants = _read_lines(directory / "mutants.jsonl", _MUTANT, problems.append)
    offered: frozenset[str] | None = None
    if (directory / "clauses.jsonl").exists():
        lines = _read_lines(directory / "clauses.jsonl", _OFFERED, problems.append)
        offered = frozenset(claim for line in lines for claim in line.claims)

    checkers: dict[str, CheckerRecord] = {}
    for record in checker_records:
        if record.checker in checkers:
            problems.append(f"checkers.jsonl: the checker {record.checker} is there twice")
        checkers[record.checker] = record
    problems.extend(_citation_problems(clauses, registry))
    intact = _intact_histories(directory, clauses, problems.append)
    if run is not None:
        problems.extend(_ending_problems(run, clauses, checker_records, mutants))
    return Evidence(run, clauses, checkers, mutants, offered, intact, tuple(problems))


def _read_run(path: Path, report: Callable[[str], None]) -> RunRecord | None:
    try:
        return _RUN.validate_json(path.read_bytes())
    except OSError as error:
        report(f"{path.name} cannot be read: {error.strerror}")
    except ValidationError as error:
        report(f"{path.name}: {describe(error)}")
    return None


def _read_lines(path: Path, adapter: TypeAdapter[T], report: Callable[[str], None]) -> tuple[T, ...]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        report(f"{path.name} cannot be read: {error.strerror}")
        return ()
    values: list[T] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values.append(adapter.validate_json(line))
        except ValidationError as error:
            report(f"{path.name} line {number}: {describe(error)}")
    return tuple(values)


def _intact_histories(
    directory: Path, clauses: tuple[ClauseVerdict, ...], report: Callable[[str], None]
) -> frozenset[str]:
    expected: dict[str, set[str]] = {}
    for clause in clauses:
        if clause.history and clause.history_sha256:
            expected.setdefault(clause.history, set()).add(clause.history_sha256)
    intact = set()
    for history, hashes in expected.items():
        found = history_sha256(directory / history)
        if hashes == {found}:
            intact.add(history)
        elif found is not None:
            report(f"{history}: its sha256 is {found}, its clause gives another: it was changed after the verdict")
    return frozenset(intact)


def _citation_problems(clauses: tuple[ClauseVerdict, ...], registry: Registry) -> list[str]:
    known = {claim.id for claim in registry.claims()}
    problems = []
    for clause in clauses:
        for claim in sorted(set(clause.claims)):
            if claim not in known:
                problems.append(f"verdicts.jsonl: {clause.clause} cites {claim}, which the registry does not have")
            if clause.claims.count(claim) > 1:
                problems.append(f"verdicts.jsonl: {clause.clause} cites {claim} twice")
    return problems


def _ending_problems(
    run: RunRecord,
    clauses: tuple[ClauseVerdict, ...],
    checkers: tuple[CheckerRecord, ...],
    mutants: tuple[MutantRecord, ...],
) -> list[str]:
    if run.ended_at is None:
        return ["run.json has no ended_at: the run was cut off, what it did not reach is not known"]
    if run.ended_at < run.started_at:
        return ["run.json: ended_at is before started_at"]
    explained = (
        any(clause.verdict is not Verdict.PASS for clause in clauses)
        or any(mutant.verdict is not MutantVerdict.KILLED for mutant in mutants)
        or not all(checker.can_fail for checker in checkers)
    )
    nothing_selected = 5  # pytest's status when no test was collected
    if run.exit_status not in (None, 0, nothing_selected) and not explained:
        return [f"the run ended with status {run.exit_status} although no line says why: a verdict is missing"]
    return []
