"""The hash of a history, computed again from its files, so that evidence changed after the run is noticed."""

import hashlib
from pathlib import Path


def history_sha256(directory: Path) -> str | None:
    """The sha256, in hex, over names and contents of all files below a directory; None when there is no such history.

    The hashed text has one line a file, sorted by name: sha256 of its bytes in hex, two spaces, its path, a newline. It
    is the text `sha256sum` prints for the same files.
    """
    if not (directory / "history.jsonl").is_file():
        return None
    digest = hashlib.sha256()
    for name in sorted(file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()):
        with (directory / name).open("rb") as content:
            digest.update(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {name}\n".encode())
    return digest.hexdigest()
