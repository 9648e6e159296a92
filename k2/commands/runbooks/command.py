"""`k2 runbooks validate`: are the runbooks whole, and do their commands, links and metrics exist."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k2.commands.context import AsJson
from k2.errors import K2Error, UsageError

if TYPE_CHECKING:
    from k2.commands.runbooks.checks import CommandLine, Finding
    from k2.commands.runbooks.deployment import Deployment
    from k2.commands.runbooks.pages import Runbook

app = typer.Typer(no_args_is_help=True, help="The pages to work from while something is wrong.")
_COUNTED = ("runbooks", "alerts", "blocks", "commands")
_FOLDER = Path("docs") / "runbooks"


@app.callback()
def runbooks() -> None:
    """The pages to work from while something is wrong."""


@app.command("validate")
def validate(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(help="One page, or a folder of them; default docs/runbooks of the root.")
    ] = None,
    root: Annotated[Path, typer.Option("--root", help="The repository.")] = Path(),
    full: Annotated[bool, typer.Option("--full", help="Then run every block on the deployment, a demo.")] = False,
    test: Annotated[list[str] | None, typer.Option("--test", help="Only this page: its name without .md.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Markdown file for what --full found.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what commands write.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check form, links, commands and metrics of the runbooks; with --full also run their commands.

    A block of commands is marked in its info string: bash, then runbook=diagnosis or runbook=resolution,
    needs=deployment or needs=nothing, and where it applies given=NAME,..., exit=CODE, destructive and
    untested="reason".

    --full restarts servers and loses data: it is refused where the deployment is not marked as a demo, see k2 reset.
    What a reader sets first (given=) is taken from the environment; a block that lacks it is a mistake.

    Exit codes: 0 nothing is wrong, 1 something is, 64 a path cannot be used, 78 the deployment is no demo.

    Example: k2 runbooks validate --full --test api-down --report report.md
    """
    from k2.commands.runbooks.checks import check_all
    from k2.commands.runbooks.deployment import read_deployment

    chosen = path or root / _FOLDER
    folder = chosen if chosen.is_dir() else chosen.parent
    deployment = read_deployment(root, folder if chosen.is_dir() else root / _FOLDER)
    pages = _chosen(_read(chosen), test or [], chosen)
    found = check_all(pages, deployment, command_line(context.find_root().command))
    if not chosen.is_dir() or test:
        # Of one page alone it cannot be said that others are missing.
        read = {page.path for page in pages}
        found = [finding for finding in found if finding.path in read]
    _print(found, pages, deployment, as_json)
    if found:
        raise K2Error(f"{len(found)} mistakes in {chosen}: each line above names its place and its remedy")
    if full:
        from k2.commands.runbooks.running import run_all

        run_all(pages, root, folder, report, verbose=verbose, as_json=as_json)


def _chosen(pages: "list[Runbook]", names: Sequence[str], where: Path) -> "list[Runbook]":
    known = {page.path.stem: page for page in pages}
    for name in names:
        if name not in known:
            raise UsageError(f"--test {name}: {where} has no such page; it has {', '.join(sorted(known))}")
    return [known[name] for name in names] if names else pages


def command_line(root: Any) -> "CommandLine":
    """A judge of k2's arguments by its own tree of commands; nothing is run.

    Args:
        root: the command `k2`.
    """

    def problem(words: Sequence[str]) -> str | None:
        try:
            _parse(root, words)
        except typer.TyperException as error:
            return error.format_message().splitlines()[0]
        return None

    return problem


def _parse(root: Any, words: Sequence[str]) -> None:
    """Go down the tree as the command line does.

    Raises:
        typer.TyperException: a command, an option or a value that is not taken.
    """
    # What a variable holds is not known; a number is taken as a text too.
    rest = ["1" if word.startswith("$") else word for word in words]
    command = root
    while hasattr(command, "commands"):
        step, rest = _leading(command, rest)
        if not rest:
            if command is root or not command.invoke_without_command:
                raise typer.BadParameter(f"a command is missing after {command.name}")
            command.make_context(command.name, step, resilient_parsing=False)
            return
        name = rest.pop(0)
        if name not in command.commands:
            raise typer.BadParameter(f"no command {name!r}; there are {', '.join(sorted(command.commands))}")
        command = command.commands[name]
    command.make_context(command.name, rest)


def _leading(command: Any, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of a group, and what follows them.

    Raises:
        typer.TyperException: an option it does not have.
    """
    options = {name: parameter for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    index = 0
    while index < len(words) and words[index].startswith("-"):
        name, has_value, _ = words[index].partition("=")
        if name not in options and name != "--help":
            raise typer.BadParameter(f"no such option: {name}")
        is_flag = name == "--help" or options[name].is_flag
        index += 1 if is_flag or has_value else 2
    return list(words[:index]), list(words[index:])


def _read(chosen: Path) -> "list[Runbook]":
    from k2.commands.runbooks.pages import read_runbook

    paths = sorted(chosen.glob("*.md")) if chosen.is_dir() else [chosen]
    if not paths:
        raise UsageError(f"{chosen} holds no runbook: name a folder of Markdown pages, or one page")
    try:
        return [read_runbook(path) for path in paths]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{chosen} cannot be read ({error}): name a page, or a folder of them") from error


def _print(found: "Sequence[Finding]", pages: "Sequence[Runbook]", deployment: "Deployment", as_json: bool) -> None:
    from k2.commands.runbooks.programs import HOST_PROGRAMS
    from k2.commands.runbooks.shell import read_script

    blocks = [block for page in pages for block in page.blocks]
    commands = [command for block in blocks for command in read_script(block.text, block.line).commands]
    used = {command.words[0] for command in commands} & HOST_PROGRAMS
    missing = sorted(program for program in used if shutil.which(program) is None)
    counts = {
        "runbooks": len(pages),
        "alerts": len(deployment.alerts),
        "blocks": len(blocks),
        "commands": len(commands),
    }
    if as_json:
        for finding in found:
            place = {"path": str(finding.path), "line": finding.line}
            typer.echo(json.dumps({**place, "what": finding.what, "remedy": finding.remedy}))
        typer.echo(json.dumps({**counts, "not_on_this_machine": missing, "findings": len(found)}))
        return
    for finding in found:
        typer.echo(f"{finding.path}:{finding.line}: {finding.what}: {finding.remedy}")
    if missing:
        typer.echo(f"not on this machine, and needed by some commands: {', '.join(missing)}")
    if not found:
        typer.echo(", ".join(f"{count} {noun}" for noun, count in counts.items()) + ": nothing is wrong")
