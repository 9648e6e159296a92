"""`python -m reports`, run as a process."""

import subprocess
import sys
from pathlib import Path

from tests.reports.crafted_run import ROOT


def command(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run it; nothing is raised for any exit status."""
    return subprocess.run(
        [sys.executable, "-m", "reports", *map(str, arguments)], cwd=cwd, check=False, capture_output=True, text=True
    )
