"""`python -m chaos`: run scenarios, list them, write a schedule."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from chaos.outcome import read_outcome
from chaos.scenarios.table import PROFILES, Scenario, chosen, read_table
from chaos.schedule import SCHEDULE_FILE, make_schedule, read_schedule
from conformance.command_line import run_and_exit
from conformance.run import RunOptions, Suite, run_clauses
from conformance.stacks.containers.engine import NoEngine, find_engine
from conformance.stacks.embedded import EmbeddedStack
from conformance.stacks.kinds import CONTAINERS
from k2.errors import UsageError

EMBEDDED = EmbeddedStack.name
DEFAULT_SEED = 1
ALERTS = "alerts/"
"""What the clause of `alerts` is called."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Faults that are shown to have bitten, and nothing lost. Exit codes of `run`: 0 pass, 1 the system failed, "
    "2 unknown (a fault that did not bite, or nothing exercised), 3 the harness broke, 64 usage, 69 no engine.",
)
ProfileOption = Annotated[str, typer.Option(envvar="PROFILE", help="smoke, 4 minutes; standard, 20; soak, hours.")]
OnlyOption = Annotated[
    str | None, typer.Option(help="Only scenarios whose name begins so or that cite this id, and the baseline.")
]
SeedOption = Annotated[int, typer.Option(help="What the schedule is made from; the same seed makes the same one.")]


@app.command()
def run(
    profile: ProfileOption = "smoke",
    stack: Annotated[
        str | None, typer.Option(help="containers or embedded; default: containers where an engine can be reached.")
    ] = None,
    only: OnlyOption = None,
    seed: SeedOption = DEFAULT_SEED,
    replay: Annotated[Path | None, typer.Option(help="Carry out this schedule instead.")] = None,
    runs: Annotated[int, typer.Option("-n", "--runs", min=1, help="How often each scenario is run.")] = 1,
    into: Annotated[Path | None, typer.Option(help="Run directory to make; default reports/runs/<run id>.")] = None,
) -> None:
    """Run scenarios and keep their histories, verdicts and timelines.

    Example: python -m chaos run --profile standard

    python -m chaos run --only kafka_latency --seed 7 -n 3

    python -m chaos run --replay reports/runs/latest/schedule.json
    """
    planned = read_schedule(replay) if replay else make_schedule(_chosen(profile, only), seed)
    chosen_stack = _stack(stack)
    suite = Suite(
        name=f"{len(planned.scenarios)} scenarios of seed {planned.seed}",
        folder="chaos/suite",
        arguments=("-p", "conformance.clauses.conftest", f"--chaos-runs={runs}"),
        is_serial=True,
        files=((SCHEDULE_FILE, planned.text()),),
    )
    options = RunOptions(chosen_stack, profile, only=None, into=into, mutants=False, suite=suite)
    directory, _ = run_clauses(options, sys.argv)
    outcome = read_outcome(directory)
    for scenario in outcome.scenarios:
        if runs > 1 or scenario.passed < scenario.runs:
            print(f"  {scenario}")
    print(outcome.summary)
    raise typer.Exit(outcome.exit_code)


@app.command()
def alerts(
    only: Annotated[
        str | None, typer.Option(help="Only this fault, or the faults that must fire this alert; no control window.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Run directory to make; default reports/runs/<run id>.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List which fault must fire which alerts.")] = False,
) -> None:
    """Fire every alert for real, on servers in containers: faults, Prometheus, Alertmanager, webhook.

    Exit codes as those of `run`. alerts/matrix.md in the run directory says which fault was heard as which alert.

    Example: python -m chaos alerts --only KafkaBrokerDown
    """
    # psycopg and all that only servers need.
    from chaos.alerts.matrix import chosen_groups
    from chaos.alerts.report import FOLDER, MARKDOWN

    groups = chosen_groups(only)
    if list_only:
        for entry in (entry for group in groups for entry in group.entries):
            print(f"{entry.fault:20} {entry.target:24} {', '.join(entry.fires)}")
        return
    chosen = () if only is None else (f"--alerts-only={only}",)
    suite = Suite(
        name="alerts fired for real",
        folder="chaos/alerts/suite",
        arguments=("-p", "conformance.clauses.conftest", *chosen),
        is_serial=True,
    )
    # With a choice it is not the latest run.
    options = RunOptions(CONTAINERS, only=None if only is None else ALERTS, into=into, mutants=False, suite=suite)
    directory, _ = run_clauses(options, sys.argv)
    print(f"the matrix: {directory / FOLDER / MARKDOWN}")
    raise typer.Exit(read_outcome(directory).exit_code)


@app.command(name="list")
def list_scenarios(profile: ProfileOption = PROFILES[-1], only: OnlyOption = None) -> None:
    """List scenarios: profile, stacks, what must go on, claims, name and title."""
    for one in _chosen(profile, only):
        where = "+".join(one.stacks)
        print(
            f"{one.profile:9} {where:20} {one.how_much_goes_on:8} {','.join(one.claims):18} {one.name:32} {one.title}"
        )


@app.command()
def schedule(seed: SeedOption = DEFAULT_SEED, profile: ProfileOption = PROFILES[1], only: OnlyOption = None) -> None:
    """Write the schedule of a seed to standard output.

    Example: python -m chaos schedule --seed 7 > seven.json
    """
    print(make_schedule(_chosen(profile, only), seed).text(), end="")


def _chosen(profile: str, only: str | None) -> tuple[Scenario, ...]:
    if profile not in PROFILES:
        raise UsageError(f"--profile {profile!r} is not known: choose {', '.join(PROFILES)}")
    return chosen(read_table(), profile, only)


def _stack(asked: str | None) -> str:
    if asked in (CONTAINERS, EMBEDDED):
        return asked
    if asked is not None:
        raise UsageError(f"--stack {asked!r} is not known: choose {CONTAINERS} or {EMBEDDED}")
    found = find_engine()
    if isinstance(found, NoEngine):
        print(f"no container engine, so on the embedded stack: {found.reason}")
        return EMBEDDED
    return CONTAINERS


def main() -> None:
    """Run the command line."""
    run_and_exit(app, "python -m chaos")


if __name__ == "__main__":
    main()
