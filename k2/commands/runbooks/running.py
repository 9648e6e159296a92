"""`k2 runbooks validate --full`: every block run on the deployment, told as it goes, and reported."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from k2.assembly.demo import check_demo
from k2.commands.runbooks.execution import Execution, data_directory, environment_of, execute
from k2.commands.runbooks.pages import CommandBlock, Runbook
from k2.commands.runbooks.report import counts, is_wrong, markdown, place, summary
from k2.errors import K2Error, UsageError
from k2.settings import load_settings


def run_all(
    pages: Sequence[Runbook], root: Path, folder: Path, report: Path | None, *, verbose: bool, as_json: bool
) -> None:
    """Run every block, and write the report.

    Args:
        pages: runbooks, in order.
        root: of the repository.
        folder: has the environment file.
        report: Markdown file; None for none.
        verbose: show what commands write.
        as_json: a line of JSON for each block, and one of counts.

    Raises:
        RefusedError: the deployment is not marked as a demo; nothing was run.
        UsageError: it cannot be put back, or the report cannot be written.
        K2Error: a block is wrong.
    """
    environment_file, environment = environment_of(folder), dict(os.environ)
    directory = data_directory(root, environment_file, environment)
    check_demo(directory, load_settings(directory))
    executions: list[Execution] = []

    def before(page: Runbook, block: CommandBlock) -> None:
        if not as_json:
            typer.echo(f"{page.path}:{block.line} {block.phase} ... ", nl=False)

    for done in execute(pages, root, environment_file, environment, before):
        executions.append(done)
        _tell(done, verbose, as_json)
    typer.echo(json.dumps(counts(executions)) if as_json else summary(executions))
    if report is not None:
        _write(report, markdown(executions))
    if wrong := [place(one) for one in executions if is_wrong(one)]:
        raise K2Error(f"{len(wrong)} blocks are wrong: {', '.join(wrong)}")


def _tell(done: Execution, verbose: bool, as_json: bool) -> None:
    if as_json:
        told = {"path": str(done.page), "line": done.block.line, "phase": done.block.phase, "result": done.result.value,
                "exit_code": done.exit_code, "seconds": round(done.seconds, 3), "reason": done.reason}  # fmt: skip
        typer.echo(json.dumps({**told, "output": done.output} if verbose else told))
        return
    took = "" if done.exit_code is None else f" after {done.seconds:.1f} s"
    typer.echo(f"{done.result.value}{took}{': ' * bool(done.reason)}{done.reason}")
    if verbose and done.output:
        typer.echo("\n".join(f"    {line}" for line in done.output.splitlines()))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--report {path} cannot be written: {error.strerror}") from error
