"""Histories as files: their hash computed again, what their first line says they are of, and what lies beside them."""

import hashlib
import json
from pathlib import Path
from typing import Any

HISTORY_FILE = "history.jsonl"
TIMELINE_DATA = "timeline.json"
_LONGEST_HEADER_BYTES = 1 << 20


def history_sha256(directory: Path) -> str | None:
    """The sha256, in hex, over names and contents of all files below a directory; None when there is no such history.

    The hashed text has one line a file, sorted by name: sha256 of its bytes in hex, two spaces, its path, a newline. It
    is the text `sha256sum` prints for the same files.
    """
    if not (directory / HISTORY_FILE).is_file():
        return None
    digest = hashlib.sha256()
    for name in sorted(file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()):
        with (directory / name).open("rb") as content:
            digest.update(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {name}\n".encode())
    return digest.hexdigest()


def header_of(directory: Path) -> dict[str, Any]:
    """The first line of a history; empty when it is no JSON object."""
    with (directory / HISTORY_FILE).open("rb") as file:
        line = file.readline(_LONGEST_HEADER_BYTES)
    try:
        header = json.loads(line)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def figures_beside(directory: Path) -> tuple[str, ...]:
    """Names of the pictures of a history, by name, and of its timeline as data; those that are there."""
    names = [file.name for file in sorted(directory.glob("*.svg")) if file.is_file()]
    return tuple([*names, TIMELINE_DATA] if (directory / TIMELINE_DATA).is_file() else names)
