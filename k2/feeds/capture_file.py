"""The file under a websocket capture: one message a line, `<receive time> {json}`."""

import re
from pathlib import Path

from k2.feeds.line_file import LineFile

_LOOKS_LIKE_A_CAPTURE = re.compile(rb"[0-9]+ +\{").match


class CaptureFile(LineFile):
    """The lines of one capture, plain, gzip or zip."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        LineFile.__init__(self, path, "capture", _unfit)


def _unfit(line: bytes) -> str | None:
    return None if _LOOKS_LIKE_A_CAPTURE(line) else f"is not `<receive time> {{json}}` but {line[:40]!r}"
