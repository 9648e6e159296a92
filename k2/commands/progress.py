"""A line on standard error that tells how far long work has come, where a person looks on."""

import sys
import time
from types import TracebackType

import typer

_SECONDS_BETWEEN = 0.1
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Called with how much is done and how much there is; a context manager that leaves no trace of the line.

    Where standard error is no terminal nothing is written.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._shown = sys.stderr.isatty()
        self._next_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show it, at most ten times a second."""
        if self._shown and time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _SECONDS_BETWEEN
            typer.echo(f"{_CLEAR}{self._doing}: {done:,} of {total:,}", err=True, nl=False)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            typer.echo(_CLEAR, err=True, nl=False)
