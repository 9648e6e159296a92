"""What `k2 feed` says: what became of the lines of each file and of the records sent, and which lines were bad."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from k2.errors import UsageError

if TYPE_CHECKING:
    from k2.feeds.file_feed import FileFeed
    from k2.feeds.inversions import EventTimeInversions
    from k2.feeds.line_file import BadLine
    from k2.ingestion.feed_runner import FeedResult

SHOWN_BAD_LINES = 10
_NS_PER_MS = 1_000_000
_INVERSIONS = {"event_time": "event_time_inversions", "send_time": "send_time_inversions"}


class BadLines:
    """Takes the lines that could not be read: counts all, shows the first ten, writes all to a file if one is named.

    A context manager.
    """

    def __init__(self, path: Path | None) -> None:
        """Nothing is written yet.

        Raises:
            UsageError: the file cannot be written.
        """
        self.count = 0
        self._path = path
        try:
            self._file = None if path is None else path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: rejects cannot be written: {error.strerror}; name another file") from error

    def take(self, bad: "BadLine") -> None:
        """The next one.

        Raises:
            UsageError: the file cannot be written any more.
        """
        self.count += 1
        if self.count <= SHOWN_BAD_LINES:
            typer.echo(f"k2: {bad.path}: line {bad.line_number}: {bad.name}: {bad.reason}", err=True)
        if self._file is None:
            return
        entry = {
            "file": str(bad.path),
            "line": bad.line_number,
            "name": bad.name,
            "reason": bad.reason,
            "raw": bad.raw.decode(errors="backslashreplace"),
        }
        try:
            self._file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UsageError(f"{self._path}: rejects cannot be written: {error.strerror}; check the disk") from error

    def __enter__(self) -> "BadLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def print_feed_result(result: "FeedResult", files: "Sequence[FileFeed]", bad_lines: int, as_json: bool) -> None:
    """Print what the lines of each file were, and what became of the records."""
    counts = {
        "sent": result.sent,
        "acknowledged": result.acknowledged,
        "failed": result.failed,
        "refused": result.refused,
        "bad_lines": bad_lines,
    }
    reports = [_report(file) for file in files]
    if as_json:
        typer.echo(json.dumps({**counts, "files": reports}))
        return
    for report in reports:
        kinds = " + ".join(f"{count} {kind}" for kind, count in report["kinds"].items())
        typer.echo(f"{report['file']}: {report['lines']} lines = {kinds or 'nothing'}")
        for name, found in report["inversions"].items():
            typer.echo(
                f"  {name} ran backwards {found['against_maximum']} times against the latest before, "
                f"{found['between_neighbours']} times between neighbours, by {found['largest_ms']:g} ms at most"
            )
    typer.echo(", ".join(f"{count} {name}" for name, count in counts.items()))


def _report(file: "FileFeed") -> dict[str, Any]:
    statistics = file.statistics
    found = {name: getattr(statistics, field, None) for name, field in _INVERSIONS.items()}
    inversions = {name: _inversions(one) for name, one in found.items() if one is not None}
    return {
        "file": str(file.path),
        "lines": statistics.lines,
        "kinds": statistics.by_kind,
        "inversions": inversions,
    }


def _inversions(found: "EventTimeInversions") -> Mapping[str, float]:
    return {
        "against_maximum": found.against_maximum,
        "between_neighbours": found.between_neighbours,
        "largest_ms": found.largest_ns / _NS_PER_MS,
    }
