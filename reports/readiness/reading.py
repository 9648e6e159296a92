"""From run directories to evidence.

A file that is missing and a line that is malformed become problems, never defaults: a reader that guesses would turn a
broken harness into a verdict about the system. Several runs are taken together only if they are of one commit and were
measured with one ruler.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from reports.readiness.errors import IncomparableRunsError
from reports.readiness.evidence import (
    CheckerRecord,
    ClauseVerdict,
    Evidence,
    Exhibit,
    MutantRecord,
    MutantVerdict,
    OfferedClause,
    RunRecord,
    SkippedClause,
    Verdict,
)
from reports.readiness.histories import figures_beside, header_of, history_sha256
from reports.readiness.parsing import describe
from reports.readiness.registry import Registry

T = TypeVar("T")
Report = Callable[[str], None]
NO_TEST_COLLECTED = 5
_SHOWN_RULER_CHARACTERS = 12

_RUN = TypeAdapter(RunRecord)
_CLAUSE = TypeAdapter(ClauseVerdict)
_CHECKER = TypeAdapter(CheckerRecord)
_MUTANT = TypeAdapter(MutantRecord)
_OFFERED = TypeAdapter(OfferedClause)
_SKIPPED = TypeAdapter(SkippedClause)


def read_evidence(directories: Sequence[Path], registry: Registry, ruler: str | None = None) -> Evidence:
    """The evidence in one run directory or in several of one commit.

    Args:
        directories: of the runs; at least one.
        registry: what may be cited.
        ruler: full hash of the ruler in use; a run that was made with another one is a problem. None asks nothing.

    Raises:
        IncomparableRunsError: the runs are of different commits, or were measured with different rulers.
    """
    parts = [_read_one(directory, registry, ruler) for directory in directories]
    if len(parts) == 1:
        return parts[0]
    _refuse_strangers([run for part in parts for run in part.runs])
    return _together(parts)


def read_run(path: Path, report: Report) -> RunRecord | None:
    """The run.json at a path; None, with a report, where it cannot be used."""
    try:
        return _RUN.validate_json(path.read_bytes())
    except OSError as error:
        report(f"{path.name} cannot be read: {error.strerror}")
    except ValidationError as error:
        report(f"{path.name}: {describe(error)}")
    return None


def _read_one(directory: Path, registry: Registry, ruler: str | None) -> Evidence:
    problems: list[str] = []
    run = read_run(directory / "run.json", problems.append)
    clauses = _read_lines(directory / "verdicts.jsonl", _CLAUSE, problems.append)
    records = _read_lines(directory / "checkers.jsonl", _CHECKER, problems.append)
    mutants = _read_lines(directory / "mutants.jsonl", _MUTANT, problems.append)
    offered: frozenset[str] | None = None
    if (directory / "clauses.jsonl").exists():
        lines = _read_lines(directory / "clauses.jsonl", _OFFERED, problems.append)
        offered = frozenset(claim for line in lines for claim in line.claims)
    skipped: dict[str, str] = {}
    if (directory / "skipped.jsonl").exists():
        for line in _read_lines(directory / "skipped.jsonl", _SKIPPED, problems.append):
            skipped.update(dict.fromkeys(line.claims, f"{line.clause}: {line.reason}"))

    checkers: dict[str, CheckerRecord] = {}
    for record in records:
        if record.checker in checkers:
            problems.append(f"checkers.jsonl: the checker {record.checker} is there twice")
        checkers[record.checker] = record
    problems.extend(_citation_problems(clauses, registry))
    exhibits = tuple(_exhibit(directory, clause, problems.append) for clause in clauses)
    if run is not None:
        problems.extend(_run_problems(run, clauses, records, mutants))
        if ruler is not None and run.ruler not in (None, ruler):
            problems.append(f"run.json: {_measured_with(run)}, this is {_short(ruler)}: run again")
    return Evidence(
        runs=() if run is None else (run,),
        directories=(directory,),
        exhibits=exhibits,
        checkers=checkers,
        mutants=mutants,
        offered=offered,
        skipped=skipped,
        problems=tuple(dict.fromkeys(problems)),
    )


def _refuse_strangers(runs: Sequence[RunRecord]) -> None:
    for run in runs[1:]:
        first = runs[0]
        if (run.git_commit or "") != (first.git_commit or ""):
            raise IncomparableRunsError(
                f"the runs {first.run_id} and {run.run_id} are of different commits, "
                f"{_short(first.git_commit)} and {_short(run.git_commit)}: name runs of one commit"
            )
        if run.ruler != first.ruler:
            raise IncomparableRunsError(
                f"the runs {first.run_id} and {run.run_id} were measured with different rulers, "
                f"{_short(first.ruler)} and {_short(run.ruler)}: run both again"
            )


def _together(parts: Sequence[Evidence]) -> Evidence:
    checkers: dict[str, CheckerRecord] = {}
    for record in (record for part in parts for record in part.checkers.values()):
        kept = checkers.get(record.checker, record)
        # What one run found a checker to miss, another that caught it does not make good.
        checkers[record.checker] = min(kept, record, key=lambda one: (one.can_fail, -one.false_alarms))
    offered = [part.offered for part in parts]
    return Evidence(
        runs=tuple(run for part in parts for run in part.runs),
        directories=tuple(directory for part in parts for directory in part.directories),
        exhibits=tuple(
            Exhibit(exhibit.line, position, exhibit.gap, exhibit.figures)
            for position, part in enumerate(parts)
            for exhibit in part.exhibits
        ),
        checkers=checkers,
        mutants=tuple(dict.fromkeys(mutant for part in parts for mutant in part.mutants)),
        offered=None if None in offered else frozenset().union(*(part for part in offered if part is not None)),
        skipped={claim: reason for part in parts for claim, reason in part.skipped.items()},
        problems=tuple(f"{part.directories[0].name}: {problem}" for part in parts for problem in part.problems),
    )


def _read_lines(path: Path, adapter: TypeAdapter[T], report: Report) -> tuple[T, ...]:
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


def _exhibit(directory: Path, clause: ClauseVerdict, report: Report) -> Exhibit:
    """What backs a verdict. A history that is there and is not what the verdict says is a problem, not a gap."""
    if not clause.history or not clause.history_sha256:
        return Exhibit(clause, gap="it names no history with a hash")
    path = directory / clause.history
    if not path.resolve().is_relative_to(directory.resolve()):
        report(f"verdicts.jsonl: the history of {clause.clause} lies outside the run: {clause.history}")
        return Exhibit(clause, gap="its history lies outside the run")
    found = history_sha256(path)
    if found is None:
        return Exhibit(clause, gap="its history is not there")
    if found != clause.history_sha256:
        report(f"{clause.history}: its sha256 is {found}, its clause gives another: it was changed after the verdict")
        return Exhibit(clause, gap="its history was changed after the verdict")
    header = header_of(path)
    said = {"clause": clause.clause, "claims": list(clause.claims), "checker": clause.checker, "stack": clause.stack}
    for name, value in said.items():
        if header.get(name) != value:
            told = json.dumps(header.get(name))
            report(f"{clause.history}: it is of the {name} {told}, its verdict says {json.dumps(value)}")
            return Exhibit(clause, gap="its history is of something else")
    return Exhibit(clause, figures=tuple(f"{clause.history}/{name}" for name in figures_beside(path)))


def _citation_problems(clauses: Iterable[ClauseVerdict], registry: Registry) -> list[str]:
    known = {claim.id for claim in registry.claims()}
    problems = []
    for clause in clauses:
        for claim in sorted(set(clause.claims)):
            if claim not in known:
                problems.append(f"verdicts.jsonl: {clause.clause} cites {claim}, which the registry does not have")
            if clause.claims.count(claim) > 1:
                problems.append(f"verdicts.jsonl: {clause.clause} cites {claim} twice")
    return problems


def _run_problems(
    run: RunRecord,
    clauses: Sequence[ClauseVerdict],
    checkers: Sequence[CheckerRecord],
    mutants: Sequence[MutantRecord],
) -> list[str]:
    if run.ended_at is None:
        return ["run.json has no ended_at: the run was cut off, what it did not reach is not known"]
    if run.ended_at < run.started_at:
        return ["run.json: ended_at is before started_at"]
    for clause in clauses:
        if clause.stack is not run.stack:
            return [f"verdicts.jsonl: {clause.clause} is of the {clause.stack} stack, the run had {run.stack}"]
    explained = (
        any(clause.verdict is not Verdict.PASS for clause in clauses)
        or any(mutant.verdict is not MutantVerdict.KILLED for mutant in mutants)
        or not all(checker.can_fail for checker in checkers)
    )
    if run.exit_status not in (None, 0, NO_TEST_COLLECTED) and not explained:
        return [f"the run ended with status {run.exit_status} although no line says why: a verdict is missing"]
    return []


def _measured_with(run: RunRecord) -> str:
    return f"the run was measured with the ruler {_short(run.ruler)}"


def _short(name: str | None) -> str:
    return name[:_SHOWN_RULER_CHARACTERS] if name else "(not recorded)"
