"""Commands about the evidence itself: verify, bundle, trend, allure, ruler."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from reports.allure.complete import complete
from reports.allure.html import PACKAGE, find_npx, make_html
from reports.allure.results import logs_of_clauses
from reports.places import ROOT, all_runs, find_run, find_runs, ruler, today
from reports.readiness.assessment import assess
from reports.readiness.bundle import find_exhibit, write_bundle
from reports.readiness.card import document
from reports.readiness.comparison import Trend, trend
from reports.readiness.errors import ToolError
from reports.readiness.harness_judge import HarnessJudge
from reports.readiness.verification import verify

EXIT_UNAVAILABLE = 69
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory or run id.", show_default="the latest run")
]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...", help="Run directories or run ids, all of one commit.", show_default="the latest run"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command("verify", epilog="Example: python -m reports verify reports/runs/latest")(verify_command)
    app.command("bundle", epilog="Example: python -m reports bundle latest two_writers/races")(bundle_command)
    app.command("trend", epilog="Example: python -m reports trend --json")(trend_command)
    app.command("allure", epilog="Example: python -m reports allure reports/runs/latest")(allure_command)
    app.command("ruler", epilog="Example: python -m reports ruler")(ruler_command)


def verify_command(
    runs: RunsArgument = None,
    card: Annotated[
        Path | None, typer.Option(help="Stored card to compare with.", show_default="card.json of the first run")
    ] = None,
) -> int:
    """Judge the stored histories again, add up again, and compare with what the run and its card say.

    Exits 0 all agrees, 2 evidence is missing, 3 something was changed or forged.
    """
    directories = find_runs(runs)
    assessment = assess(directories, ruler(), today())
    found = verify(assessment, card or directories[0] / "card.json", HarnessJudge(ROOT))
    for line in found.forged:
        typer.echo(f"forged   {line}")
    for line in found.missing:
        typer.echo(f"missing  {line}")
    shown = assessment.waived_score()
    score = "no score" if shown is None else f"{shown} of 100"
    verdict = {0: "all agrees", 2: "evidence is missing", 3: "not to be trusted"}[found.exit_code]
    typer.echo(f"{found.checked} histories judged again, {score} by ruler {assessment.ruler.version}: {verdict}")
    return found.exit_code


def bundle_command(
    run: RunArgument,
    clause: Annotated[str, typer.Argument(metavar="CLAUSE", help="Name of a clause, or how only one begins.")],
    into: Annotated[
        Path | None, typer.Option(help="Archive to write.", show_default="build/bundles/<run>-<clause>.tar.gz")
    ] = None,
) -> int:
    """Pack everything that reproduces one verdict into one archive."""
    directory = find_run(run)
    assessment = assess([directory], ruler(), today())
    exhibit = find_exhibit(assessment.evidence, clause)
    name = f"{directory.resolve().name}-{exhibit.line.clause.replace('/', '-')}.tar.gz"
    logs = logs_of_clauses(directory).get(exhibit.line.clause)
    archive = write_bundle(
        assessment.evidence, exhibit, assessment.ruler, into or ROOT / "build" / "bundles" / name, logs
    )
    typer.echo(f"{exhibit.line.clause}: {exhibit.line.verdict}, {archive.stat().st_size:,} bytes in {archive}")
    return 0


def trend_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to compare.", show_default="all")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show how the score went over runs that this ruler measured.

    Others are left out, and refused where they are named: exit 3.
    """
    directories = find_runs(runs) if runs else all_runs()
    found = trend(directories, ruler(), today(), refuse=bool(runs))
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2) if as_json else _trend_table(found))
    return 0


def allure_command(
    run: RunArgument = "latest",
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write.", show_default="allure.html in the run directory")
    ] = None,
) -> int:
    """Make one HTML file of a run's Allure results.

    Exits 69 where Node is not there; the results are in the run directory all the same.
    """
    directory = find_run(run)
    made = document(assess([directory], ruler(), today()))
    page = out or directory / "allure.html"
    npx = find_npx()
    if npx is None:
        typer.echo(f"reports: no Node here, so no HTML; the results are in {directory / 'allure'}", err=True)
        return EXIT_UNAVAILABLE
    with tempfile.TemporaryDirectory() as results:
        number = complete(directory, made, 0, Path(results))
        if number == 0:
            raise ToolError(f"{directory / 'allure'} holds no result: run the clauses first")
        make_html(Path(results), page, npx)
    typer.echo(f"{number} results, {page.stat().st_size:,} bytes in {page} ({PACKAGE})")
    return 0


def ruler_command() -> int:
    """Print the full hash of rubric, requirements and checkers, which a run keeps as `ruler` in run.json."""
    typer.echo(ruler().sha256)
    return 0


def _trend_table(found: Trend) -> str:
    lines = [
        f"ruler {found.ruler_version}",
        f"{'started':26}{'stack':12}{'profile':9}{'commit':14}{'score':>6}  claims",
    ]
    for point in found.points:
        score = "none" if point.score is None else f"{point.score:.1f}"
        lines.append(
            f"{point.started_at:26}{point.stack:12}{point.profile:9}{point.git_commit:14}{score:>6}  "
            f"{point.proven} proven, {point.failed} failed, {point.unknown} unknown, "
            f"{point.not_exercised} not exercised"
        )
    if not found.points:
        lines.append("no run was measured with this ruler")
    return "\n".join([*lines, *(f"left out: {reason}" for reason in found.left_out)])
