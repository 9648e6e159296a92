"""`python -m conformance`: run the clauses, judge stored histories again, or make the whole readiness card."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from conformance import judge as judging
from conformance.command_line import run_and_exit
from conformance.history import HistoryError
from conformance.mutants import run_mutants
from conformance.run import PROJECT_ROOT, RUNS, RunOptions, run_clauses
from conformance.stacks.embedded import EmbeddedStack
from conformance.stacks.kinds import CONTAINERS, EXTERNAL, KINDS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The verification harness. Exit codes: 0 pass, 1 the system failed, 2 unknown, 3 the harness broke, 64 usage.",
)

StackOption = Annotated[str, typer.Option(help="embedded; containers, see docs/containers.md; external.")]
ProfileOption = Annotated[
    str, typer.Option(envvar="PROFILE", help="smoke, in minutes; or full, with the long clauses.")
]
AddressesOption = Annotated[
    Path | None, typer.Option(help="Settings file, or data directory, of the external stack's servers.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]
_CHAOS_PROFILES = {"smoke": "smoke", "full": "standard"}
_KNOWN_PROFILES = tuple(_CHAOS_PROFILES)
_USAGE_EXIT_CODE = 64
_HARNESS_EXIT_CODE = 3
_RUN_OUTCOMES = {
    0: "nothing failed and nothing is unknown; what was not exercised is on the card",
    1: "the system failed, see above",
    2: "something is unknown, see above",
}


@app.command()
def run(
    stack: StackOption = "embedded",
    profile: ProfileOption = "smoke",
    only: Annotated[str | None, typer.Option(help="Only clauses whose name starts so, or that cite this id.")] = None,
    into: Annotated[Path | None, typer.Option(help="Run directory to make; default reports/runs/<run id>.")] = None,
    mutants: Annotated[bool, typer.Option(help="Also run the whole-system mutants.")] = True,
    addresses: AddressesOption = None,
) -> None:
    """Run the clauses.

    Example: python -m conformance run --only CON-3
    """
    _refuse_unknown(stack, profile, addresses)
    directory, status = run_clauses(RunOptions(stack, profile, only, into, mutants, addresses), sys.argv)
    raise typer.Exit(_gate(directory, minimum=0) if only is None else min(status, 1))


@app.command()
def readiness(
    stack: StackOption = "embedded", profile: ProfileOption = "smoke", addresses: AddressesOption = None
) -> None:
    """Run everything and write the readiness card.

    With --stack containers chaos follows, and the clauses on the embedded stack, since some things only that one can be
    made to do; the card shows both stacks side by side. Fails if something failed or is unknown, not for what nobody
    has exercised.
    """
    _refuse_unknown(stack, profile, addresses)
    # Real servers first: where there is no engine for them, that is known at once.
    runs = [run_clauses(RunOptions(stack, profile, addresses=addresses), sys.argv)[0]]
    if stack == CONTAINERS:
        runs.append(_run_chaos(runs[0], profile))
        runs.append(run_clauses(RunOptions(EmbeddedStack.name, profile), sys.argv)[0])
    # The newest first, which is `latest`: there the card is written.
    runs.reverse()
    _reports("card", *runs)
    # What a release would be told, and then whether this run found anything wrong, which is another question.
    _reports("gate", *runs)
    status = _gate(*runs, minimum=0, quiet=True)
    print(f"\nthis run: {_RUN_OUTCOMES.get(status, 'the harness broke')}")
    print(f"card: {(RUNS / 'latest' / 'index.html').resolve().relative_to(PROJECT_ROOT)}")
    raise typer.Exit(status)


@app.command()
def judge(paths: Annotated[list[Path], typer.Argument(help="Run directories or histories.")]) -> None:
    """Judge stored histories again, without a stack.

    Example: python -m conformance judge reports/runs/latest

    Exits 3 where a verdict is no longer the one that was kept.
    """
    try:
        judged = judging.judge_paths(paths)
        runs = [path for path in paths if (path / judging.VERDICTS_FILE).exists()]
        changed = [difference for run in runs for difference in judging.differences(run, judging.judge_paths([run]))]
    except HistoryError as error:
        typer.echo(f"conformance: {error}", err=True)
        raise typer.Exit(_HARNESS_EXIT_CODE) from None
    for path, verdict in judged:
        typer.echo(f"{verdict.outcome.value:8} {path.name}: {verdict.reason}")
    for difference in changed:
        typer.echo(f"changed  {difference}")
    worst = judging.worst_of(judged)
    typer.echo(f"{len(judged)} histories judged, {len(changed)} verdicts changed: {worst.value}")
    raise typer.Exit(_HARNESS_EXIT_CODE if changed else {"pass": 0, "fail": 1, "unknown": 2}[worst.value])


@app.command()
def mutants(stack: StackOption = EmbeddedStack.name) -> None:
    """Run each whole-system mutant of a stack against the clause that must fail on it.

    Exits 0 if all are killed, 1 if one survives, 2 if one could not be tried.
    """
    results = run_mutants(PROJECT_ROOT, stack)
    verdicts = {result.verdict for result in results}
    raise typer.Exit(1 if "survived" in verdicts else 2 if verdicts != {"killed"} else 0)


@app.command()
def engine(
    start: Annotated[
        bool, typer.Option("--start", help="Have one: install and start it where that is allowed.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the one that was started here, with its containers.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the container engine that was found, or what would be done about there being none.

    Exits 0 if it suits the container stack, 69 if not. K2_ENGINE=none forbids one.
    """
    from conformance.stacks.containers import commands

    environment = dict(os.environ)
    asked = partial(commands.engine_command, environment, start=start, stop=stop, as_json=json_output)
    raise typer.Exit(commands.guarded(asked))


@app.command()
def images(
    only: Annotated[list[str] | None, typer.Option(help="Only this image; can be given more than once.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Say which are there; build nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove those that the files no longer lead to.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Build the images of the container stack that are missing, see docs/images.md.

    Example: python -m conformance images --only kafka

    Exits 3 if one cannot be built, 69 without an engine or room for them.
    """
    from conformance.stacks.containers import commands

    asked = partial(
        commands.images_command,
        dict(os.environ),
        only=only or (),
        list_only=list_only,
        prune=prune,
        as_json=json_output,
    )
    raise typer.Exit(commands.guarded(asked))


def _run_chaos(beside: Path, profile: str) -> Path:
    """The run directory of the scenarios that belong to a profile of the clauses."""
    directory = beside.with_name(f"{beside.name}-chaos")
    arguments = ("--stack", CONTAINERS, "--profile", _CHAOS_PROFILES[profile], "--into", str(directory))
    # Another program, for chaos builds on this package and not the other way round; what it found is in its evidence.
    subprocess.run([sys.executable, "-m", "chaos", "run", *arguments], cwd=PROJECT_ROOT, check=False)
    return directory


def _gate(*directories: Path, minimum: int, quiet: bool = False) -> int:
    return _reports("gate", *directories, "--min", str(minimum), quiet=quiet)


def _reports(command: str, *arguments: Path | str, quiet: bool = False) -> int:
    shown = [str(one.absolute()) if isinstance(one, Path) else one for one in arguments]
    return subprocess.run(
        [sys.executable, "-m", "reports", command, *shown],
        cwd=PROJECT_ROOT,
        stdout=subprocess.DEVNULL if quiet else None,
        check=False,
    ).returncode


def _refuse_unknown(stack: str, profile: str, addresses: Path | None) -> None:
    if (stack == EXTERNAL) != (addresses is not None):
        typer.echo("conformance: --addresses FILE is for --stack external, which needs it", err=True)
        raise typer.Exit(_USAGE_EXIT_CODE)
    for what, value, known in (("--stack", stack, KINDS), ("--profile", profile, _KNOWN_PROFILES)):
        if value not in known:
            typer.echo(f"conformance: {what} {value!r} is not known: choose {' or '.join(known)}", err=True)
            raise typer.Exit(_USAGE_EXIT_CODE)


def main() -> None:
    """Run the command line."""
    run_and_exit(app, "python -m conformance")


if __name__ == "__main__":
    main()
