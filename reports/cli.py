"""The command line of the readiness card: `python -m reports gate | card | explain`."""

import difflib
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from reports.readiness.card import Assessment, assess, document
from reports.readiness.document import to_json
from reports.readiness.errors import CardError, RulerError, RunNotFoundError
from reports.readiness.gate import Decision, GateVerdict
from reports.readiness.page import page
from reports.readiness.registry import Need, Registry, load_registry
from reports.readiness.rubric import Rubric, load_rubric
from reports.readiness.summary import summary
from reports.readiness.wording import score_words

EXIT_USAGE = 64
RUNS = Path(__file__).parent / "runs"
REQUIREMENTS = Path(__file__).parent.parent / "conformance" / "requirements.toml"
RUBRIC = Path(__file__).parent / "readiness" / "rubric.toml"
_HELP_EXAMPLES = """\b
Examples:
  python -m reports gate
  python -m reports gate 20261121T094500Z-1a2b3c --min 25 --json
  python -m reports card
  python -m reports explain CON-3b
"""

app = typer.Typer(
    help="Score a run of the harness, decide about a release, explain a requirement.",
    epilog=_HELP_EXAMPLES,
    add_completion=False,
    rich_markup_mode=None,
)
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory or run id.", show_default="the latest run")
]


@app.command(epilog="Example: python -m reports gate --min 82")
def gate(
    run: RunArgument = "latest",
    minimum: Annotated[
        float | None, typer.Option("--min", min=0, max=100, help="Points needed; the rubric's minimum by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> int:
    """Decide about a release.

    Exits 0 pass, 1 the system failed, 2 unknown or insufficient evidence, 3 the harness broke.
    """
    try:
        directory = find_run(run)
        registry, rubric = _ruler()
    except CardError as error:
        return _broken(str(error), as_json)
    assessment = assess(directory, registry, rubric)
    verdict = assessment.gate(None if minimum is None else Decimal(str(minimum)))
    if as_json:
        print(json.dumps(_verdict_object(assessment, verdict), indent=2))
    else:
        print(_verdict_block(directory, assessment, verdict))
    return verdict.decision.exit_code


@app.command(epilog="Example: python -m reports card reports/runs/latest")
def card(run: RunArgument = "latest") -> int:
    """Write card.json, card.md and index.html into the run directory."""
    directory = find_run(run)
    registry, rubric = _ruler()
    made = document(assess(directory, registry, rubric))
    texts = {"card.json": to_json(made), "card.md": summary(made), "index.html": page(made)}
    try:
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CardError(f"the card cannot be written to {directory}: {error.strerror}") from error
    print(f"K2 readiness: {score_words(made)}, {made.verdict.decision}")
    for name in texts:
        print(f"  {directory / name}")
    return 0


@app.command(epilog="Example: python -m reports explain API-3c")
def explain(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A requirement (CON-3) or a claim (CON-3b).")],
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Run directory or run id.", show_default="the latest run")
    ] = "latest",
) -> int:
    """Print what an id promises, and its state in a run."""
    registry, rubric = _ruler()
    wanted = next((known for known in registry.identifiers() if known.lower() == identifier.lower()), None)
    requirement = registry.requirement_of(wanted or "")
    if wanted is None or requirement is None:
        near = difflib.get_close_matches(identifier.upper(), registry.identifiers(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"reports: there is no requirement or claim {identifier}{hint}", file=sys.stderr)
        return EXIT_USAGE
    criterion = rubric.criteria[requirement.id]
    print(f"{requirement.id}  {requirement.title}\n  {' '.join(requirement.text.split())}\n")
    print(f"  area {requirement.area}, stage {criterion.stage}, {criterion.weight} points")
    try:
        directory = find_run(run)
    except RunNotFoundError:
        if run != "latest":
            raise
        print("  no run yet, so no claim has a state; `make readiness` makes one")
        states = {}
    else:
        assessment = assess(directory, registry, rubric)
        states = {result.claim.id: f"{result.state}: {result.reason}" for result in assessment.score.claims()}
        print(f"  states are of the run {assessment.evidence.run.run_id if assessment.evidence.run else directory}")
        for problem in assessment.evidence.problems:
            print(f"  not to be trusted: {problem}")
    for claim in requirement.claims:
        if wanted in (requirement.id, claim.id):
            needs = "" if claim.needs is Need.ANY else f" (needs {claim.needs})"
            print(f"\n  {claim.id}  {claim.text}{needs}")
            if claim.id in states:
                print(f"    {states[claim.id]}")
    return 0


def find_run(run: str) -> Path:
    """The directory of a run, given as a path or as an id under reports/runs.

    Raises:
        RunNotFoundError: it does not exist.
    """
    for candidate in (RUNS / run,) if run == "latest" else (Path(run), RUNS / run):
        if candidate.is_dir():
            return candidate
    what = "no run yet, `make readiness` makes one" if run == "latest" else f"no run directory {run}"
    raise RunNotFoundError(f"there is {what} (looked in {RUNS})")


def main() -> None:
    """Run the command line. Usage errors exit 64, because 1, 2 and 3 are verdicts of the gate."""
    if len(sys.argv) < 2:
        sys.argv.append("--help")
    command = typer.main.get_command(app)
    try:
        status = command(prog_name="python -m reports", standalone_mode=False)
    except RulerError as error:
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


def _ruler() -> tuple[Registry, Rubric]:
    registry = load_registry(REQUIREMENTS)
    return registry, load_rubric(RUBRIC, registry)


def _broken(reason: str, as_json: bool) -> int:
    code = Decision.HARNESS_BROKE.exit_code
    if as_json:
        print(json.dumps({"decision": Decision.HARNESS_BROKE, "exit_code": code, "score": None, "reasons": [reason]}))
    print(f"reports: {reason}", file=sys.stderr)
    return code


def _verdict_object(assessment: Assessment, verdict: GateVerdict) -> dict[str, Any]:
    shown = assessment.shown_score()
    run = assessment.evidence.run
    return {
        "decision": verdict.decision,
        "exit_code": verdict.decision.exit_code,
        "score": None if shown is None else float(shown),
        "minimum": float(verdict.minimum),
        "run_id": run.run_id if run else None,
        "ruler_version": assessment.rubric.version,
        "reasons": verdict.reasons,
        "next_steps": verdict.next_steps,
    }


def _verdict_block(directory: Path, assessment: Assessment, verdict: GateVerdict) -> str:
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
    return "\n".join([*lines, f"  run     {directory}"])
