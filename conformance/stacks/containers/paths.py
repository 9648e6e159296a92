"""Where things of this package lie in the checkout."""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[3]
ENGINE_STATE = PROJECT_ROOT / "build" / "engine"
"""Logs, and the note of a daemon that was started here."""
IMAGE_LOGS = PROJECT_ROOT / "build" / "images"
"""What each image's last build said."""
OF_WORKERS = "servers"
"""Folder of a run with a folder for each process of clauses that has servers of its own."""


def shown(path: Path) -> str:
    """A path as it is told to a person: from the checkout where it lies inside."""
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)
