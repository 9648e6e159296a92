"""How the harness's command lines end: what was typed wrongly, or cannot be had here, is one line and an exit code."""

import sys
from typing import NoReturn

import typer

from conformance.stacks.containers.errors import ContainersError
from k2.errors import UsageError

_USAGE_EXIT_CODE = 64
_INTERRUPTED_EXIT_CODE = 130


def run_and_exit(app: typer.Typer, program: str) -> NoReturn:
    """Run a command line. Usage errors exit 64, because 1, 2 and 3 are verdicts.

    Args:
        app: its commands; what one of them returns is the exit code.
        program: as it is typed, "python -m chaos".
    """
    name = program.rpartition(" ")[2]
    try:
        status = app(prog_name=program, standalone_mode=False)
    except (typer.TyperException, FileExistsError, UsageError) as error:
        described = getattr(error, "format_message", None)
        typer.echo(f"{name}: {described() if described else error}", err=True)
        status = _USAGE_EXIT_CODE
    except ContainersError as error:
        # Not needed where no servers are.
        from conformance.stacks.containers.commands import tell

        status = tell(error)
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED_EXIT_CODE
    sys.exit(status)
