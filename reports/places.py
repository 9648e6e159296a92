"""Where runs and the ruler lie in a checkout, and which day it is."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from reports.readiness.errors import IncomparableRunsError, RunNotFoundError
from reports.readiness.ruler import Ruler, RulerFiles, load_ruler

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "reports" / "runs"
LATEST = "latest"


def find_runs(runs: Sequence[str] | None) -> list[Path]:
    """The directories of runs; of the latest where none is named.

    Raises:
        RunNotFoundError: one does not exist.
        IncomparableRunsError: one is named twice.
    """
    directories = [find_run(run) for run in runs or (LATEST,)]
    for position, directory in enumerate(directories):
        if directory.resolve() in [other.resolve() for other in directories[:position]]:
            raise IncomparableRunsError(f"the run {directory} is named twice: name each run once")
    return directories


def find_run(run: str) -> Path:
    """The directory of a run, given as a path or as an id under reports/runs.

    Raises:
        RunNotFoundError: it does not exist.
    """
    for candidate in (RUNS / run,) if run == LATEST else (Path(run), RUNS / run):
        if candidate.is_dir():
            return candidate
    what = "no run yet, `make readiness` makes one" if run == LATEST else f"no run directory {run}"
    raise RunNotFoundError(f"there is {what} (looked in {RUNS})")


def all_runs(beside: Path | None = None) -> list[Path]:
    """Every run directory in reports/runs, or in the folder that holds a run; by name, `latest` not among them."""
    folder = RUNS if beside is None else beside.resolve().parent
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in found if not path.is_symlink() and (path / "run.json").is_file())


def ruler() -> Ruler:
    """The ruler of this checkout."""
    return load_ruler(RulerFiles(ROOT))


def today() -> date:
    """The day waivers are judged on."""
    return datetime.now(UTC).date()
