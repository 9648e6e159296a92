"""`python -m load`: run the profiles, list them, draw what a run recorded."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from conformance.checkers.verdict import Outcome
from conformance.command_line import run_and_exit
from conformance.drivers.load_profile import FULL, SMOKE, read_all
from conformance.history import History
from conformance.judge import HISTORIES, judge_paths, worst_of
from conformance.run import RunOptions, run_clauses
from conformance.stacks.embedded import EmbeddedStack
from k2.errors import UsageError

PICTURES = "pictures"
_EXIT_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.UNKNOWN: 2}
_BROKE = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Load on the API, judged by thresholds. Exit codes of `run`: 0 pass, 1 a threshold is broken, 2 unknown (too "
    "few samples, or not the load that was planned), 3 the harness broke, 64 usage.",
)


@app.command()
def run(
    only: Annotated[str, typer.Option(help="Only the profile of this name.")] = "",
    profile: Annotated[
        str, typer.Option(envvar="PROFILE", help="smoke: what runs among the clauses; full: all profiles.")
    ] = FULL,
    stack: Annotated[str, typer.Option(help="embedded or containers.")] = EmbeddedStack.name,
    into: Annotated[Path | None, typer.Option(help="Run directory to make; default reports/runs/<run id>.")] = None,
) -> None:
    """Run profiles and judge them; histories, verdicts and pictures are kept.

    Example: python -m load run --only steps
    """
    names = [one.name for one in read_all() if profile == FULL or one.runs_in == SMOKE]
    if profile not in (SMOKE, FULL) or (only and only not in names):
        raise UsageError(f"there is no profile {only!r} in {profile}: choose one of {', '.join(names)}")
    options = RunOptions(stack, profile, only=f"load/{only}", into=into, mutants=False)
    directory, _ = run_clauses(options, sys.argv)
    histories = directory / HISTORIES
    if not histories.is_dir() or not any(histories.iterdir()):
        print("nothing was run: see above")
        raise typer.Exit(_BROKE)
    outcome = worst_of(judge_paths([directory]))
    draw(directory)
    print(f"{outcome.value}: evidence and pictures are in {directory}")
    raise typer.Exit(_EXIT_CODES[outcome])


@app.command(name="list")
def list_profiles() -> None:
    """List the profiles: when they run, how long they take, name and title."""
    for one in read_all():
        print(f"{one.runs_in:6} {sum(each.seconds for each in one.runs):5.0f} s  {one.name:12} {one.title}")


@app.command()
def draw(directory: Path) -> None:
    """Draw every load of a run's histories into its pictures/."""
    # Charts are slow to import, and few need them.
    from load._picture import picture

    for path in sorted((directory / HISTORIES).iterdir()):
        history = History.read(path)
        if history.header.checker == "load":
            target = directory / PICTURES / f"{path.name}.svg"
            target.parent.mkdir(exist_ok=True)
            target.write_text(picture(history), encoding="utf-8")
            print(f"drawn: {target}")


@app.command()
def platform(records: Annotated[int, typer.Option(help="Trades to be asked for.")] = 20_000) -> None:
    """Serve an API over synthetic trades until standard input ends; its address is the first line."""
    from load._platform import serve_until_told

    serve_until_told(records, lambda url: print(json.dumps({"url": url}), flush=True))


def main() -> None:
    """Run the command line."""
    run_and_exit(app, "python -m load")


if __name__ == "__main__":
    main()
