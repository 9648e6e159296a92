"""What every command shares: the settings, the options that mean the same everywhere, stopping on signals."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from k2.errors import UsageError
from k2.records.definition import RECORD_TYPES
from k2.settings import Settings

INTERRUPTED_EXIT_CODE = 130
FOUND_EXIT_CODE = 1
"""What was looked for is there: mistakes, or an alert that fires."""
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")]
*_OTHERS, _LAST = RECORD_TYPES
_DATA_TYPES = f"{', '.join(_OTHERS)} or {_LAST}"
DataType = Annotated[str, typer.Option("--data-type", help=f"{_DATA_TYPES}.")]


def settings_of(context: typer.Context) -> Settings:
    """The settings, read once before the command."""
    settings: Settings = context.obj[0]
    return settings


def data_directory_of(context: typer.Context) -> Path:
    """The data directory the settings are of."""
    directory: Path = context.obj[1]
    return directory


def known_data_type(data_type: str) -> str:
    """The value of --data-type.

    Raises:
        UsageError: there is no such data type.
    """
    if data_type not in RECORD_TYPES:
        raise UsageError(f"--data-type is {_DATA_TYPES}, not {data_type!r}")
    return data_type


def stop_on_signals() -> Callable[[], bool]:
    """Catch SIGTERM and Ctrl-C from now on; the answer says whether one came."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    return lambda: bool(stopped)
