"""Where recorded market data is, if it is anywhere: it is never part of the project."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def captures_folder() -> Path | None:
    """The folder K2_CAPTURES names, or shared/data beside the checkout; None where there is none."""
    folder = Path(os.environ.get("K2_CAPTURES") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None
