"""The command line of the readiness card: `python -m reports card | gate | explain | ...`."""

import difflib
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from reports import evidence_commands
from reports.evidence_commands import JsonOption, RunsArgument
from reports.places import LATEST, all_runs, find_run, find_runs, ruler, today
from reports.readiness.assessment import Assessment, assess
from reports.readiness.card import document
from reports.readiness.comparison import incomparable, predecessor, regressions
from reports.readiness.errors import CardError, IncomparableRunsError, RulerError, RunNotFoundError
from reports.readiness.gate import Decision, GateVerdict
from reports.readiness.registry import Need
from reports.readiness.ruler import Ruler
from reports.readiness.wording import score_words
from reports.readiness.writing import write_card

EXIT_USAGE = 64
_HELP_EXAMPLES = """\b
Examples:
  python -m reports gate
  python -m reports gate 20261121T094500Z-1a2b3c --min 25 --json
  python -m reports card EMBEDDED_RUN CONTAINERS_RUN
  python -m reports explain CON-3b
"""

app = typer.Typer(
    help="Score runs of the harness, decide about a release, explain a requirement.",
    epilog=_HELP_EXAMPLES,
    add_completion=False,
    rich_markup_mode=None,
)
evidence_commands.add_to(app)


@app.command(epilog="Example: python -m reports gate --min 82")
def gate(
    runs: RunsArgument = None,
    minimum: Annotated[
        float | None, typer.Option("--min", min=0, max=100, help="Points needed; the rubric's minimum by default.")
    ] = None,
    no_regression: Annotated[
        bool, typer.Option("--no-regression", help="Nothing may be lost since the last run of the stack and profile.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Earlier run for --no-regression, instead of the last.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Decide about a release.

    Exits 0 pass, 1 the system failed, 2 unknown or insufficient evidence, 3 the harness broke.
    """
    try:
        directories = find_runs(runs)
        assessment = assess(directories, ruler(), today())
        lost = _lost(directories, assessment, against) if no_regression or against else ()
    except CardError as error:
        return _broken(str(error), as_json)
    verdict = assessment.gate(None if minimum is None else Decimal(str(minimum)), lost)
    if as_json:
        print(json.dumps(_verdict_object(assessment, verdict), indent=2))
    else:
        print(_verdict_block(directories, assessment, verdict))
    return verdict.decision.exit_code


@app.command(epilog="Example: python -m reports card EMBEDDED_RUN CONTAINERS_RUN")
def card(
    runs: RunsArgument = None,
    into: Annotated[
        Path | None, typer.Option(help="Directory to write to.", show_default="that of the first run")
    ] = None,
) -> int:
    """Write the card of one run, or of several of one commit, in all its forms."""
    directories = find_runs(runs)
    made, written = write_card(assess(directories, ruler(), today()), into or directories[0])
    print(f"K2 readiness: {score_words(made)}, {made.verdict.decision}")
    for path in written:
        print(f"  {path}")
    return 0


@app.command(epilog="Example: python -m reports explain API-3c")
def explain(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A requirement (CON-3) or a claim (CON-3b).")],
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Run directory or run id.", show_default="the latest run")
    ] = LATEST,
) -> int:
    """Print what an id promises, and its state in a run."""
    measured = ruler()
    registry = measured.registry
    wanted = next((known for known in registry.identifiers() if known.lower() == identifier.lower()), None)
    requirement = registry.requirement_of(wanted or "")
    if wanted is None or requirement is None:
        near = difflib.get_close_matches(identifier.upper(), registry.identifiers(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"reports: there is no requirement or claim {identifier}{hint}", file=sys.stderr)
        return EXIT_USAGE
    criterion = measured.rubric.criteria[requirement.id]
    print(f"{requirement.id}  {requirement.title}\n  {' '.join(requirement.text.split())}\n")
    print(f"  area {requirement.area}, stage {criterion.stage}, {criterion.weight} points")
    states = _states(run, measured)
    for claim in requirement.claims:
        if wanted in (requirement.id, claim.id):
            needs = "" if claim.needs is Need.ANY else f" (needs {claim.needs})"
            print(f"\n  {claim.id}  {claim.text}{needs}")
            if claim.id in states:
                print(f"    {states[claim.id]}")
    return 0


def _states(run: str, measured: Ruler) -> dict[str, str]:
    """Claim id -> its state and reason in a run; empty, and said so, where there is no run yet."""
    try:
        directory = find_run(run)
    except RunNotFoundError:
        if run != LATEST:
            raise
        print("  no run yet, so no claim has a state; `make readiness` makes one")
        return {}
    assessment = assess([directory], measured, today())
    names = [known.run_id for known in assessment.evidence.runs] or [str(directory)]
    print(f"  states are of the run {names[0]}")
    for problem in assessment.evidence.problems:
        print(f"  not to be trusted: {problem}")
    return {result.claim.id: f"{result.state}: {result.reason}" for result in assessment.score.claims()}


def _lost(directories: Sequence[Path], assessment: Assessment, against: str | None) -> tuple[str, ...]:
    """What each run lacks that an earlier one had: the one named, or the last of its stack and profile."""
    measured = assessment.ruler
    if against is not None:
        earlier = find_run(against)
        if doubt := incomparable(earlier, measured):
            raise IncomparableRunsError(f"{doubt}: scores of two rulers cannot be compared")
        return regressions(assess([earlier], measured, assessment.today), assessment)
    lost: list[str] = []
    for directory in directories:
        now = assess([directory], measured, assessment.today)
        last = predecessor(now.evidence.runs[0], all_runs(directory), measured) if now.evidence.runs else None
        if last is not None:
            lost += regressions(assess([last], measured, assessment.today), now)
    return tuple(dict.fromkeys(lost))


def main() -> None:
    """Run the command line. Usage errors exit 64, because 1, 2 and 3 are verdicts of the gate."""
    if len(sys.argv) < 2:
        sys.argv.append("--help")
    command = typer.main.get_command(app)
    try:
        status = command(prog_name="python -m reports", standalone_mode=False)
    except (RulerError, IncomparableRunsError) as error:
        _complain(error, Decision.HARNESS_BROKE.exit_code)
    except CardError as error:
        _complain(error, EXIT_USAGE)
    except typer.Abort:
        _complain("interrupted", 130)
    except typer.TyperException as error:
        described = getattr(error, "format_message", None)
        _complain(described() if described else error, EXIT_USAGE)
    sys.exit(status)


def _complain(what: object, status: int) -> None:
    print(f"reports: {' '.join(str(what).split())}", file=sys.stderr)
    sys.exit(status)


def _broken(reason: str, as_json: bool) -> int:
    code = Decision.HARNESS_BROKE.exit_code
    if as_json:
        print(json.dumps({"decision": Decision.HARNESS_BROKE, "exit_code": code, "score": None, "reasons": [reason]}))
    print(f"reports: {reason}", file=sys.stderr)
    return code


def _verdict_object(assessment: Assessment, verdict: GateVerdict) -> dict[str, Any]:
    shown, waived = assessment.shown_score(), assessment.waived_score()
    runs = assessment.evidence.runs
    return {
        "decision": verdict.decision,
        "exit_code": verdict.decision.exit_code,
        "score": None if shown is None else float(shown),
        "waived_score": None if waived is None else float(waived),
        "minimum": float(verdict.minimum),
        "run_id": runs[0].run_id if runs else None,
        "run_ids": [run.run_id for run in runs],
        "ruler_version": assessment.ruler.version,
        "reasons": verdict.reasons,
        "next_steps": verdict.next_steps,
    }


def _verdict_block(directories: Sequence[Path], assessment: Assessment, verdict: GateVerdict) -> str:
    made = document(assessment)
    counts = made.counts
    lines = [
        f"K2 readiness gate: {verdict.decision.upper()} (exit {verdict.decision.exit_code})",
        f"  score   {score_words(made)}, the gate asks for {verdict.minimum}",
        f"  claims  {counts.proven} proven, {counts.failed} failed, {counts.unknown} unknown, "
        f"{counts.not_exercised} not exercised",
        "  why",
        *(f"    - {reason}" for reason in verdict.reasons),
    ]
    if verdict.next_steps:
        lines += ["  next", *(f"    {number}. {step}" for number, step in enumerate(verdict.next_steps, start=1))]
    return "\n".join([*lines, *(f"  run     {directory}" for directory in directories)])
