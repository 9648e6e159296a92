"""Names, Arrow files and hashes of a history's directory."""

import hashlib
import re
from pathlib import Path

import pyarrow as pa

from conformance.history.events import HistoryError

HISTORY_FILE = "history.jsonl"
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_stage_name(stage: str) -> None:
    """Raises HistoryError unless the name can be a file's name on every system."""
    if not _STAGE_NAME.fullmatch(stage):
        raise HistoryError(f"{stage!r} cannot name a stage: use lower-case letters, digits and underscores")


def write_table(path: Path, table: pa.Table) -> str:
    """Write an Arrow IPC file that does not exist yet; returns the sha256 of its bytes in hex."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    with path.open("xb") as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def read_table(path: Path, rows: int, sha256: str) -> pa.Table:
    """Read an Arrow IPC file whole, without a copy of its buffers.

    Raises:
        HistoryError: it is missing, is no Arrow file, or is not the file of that hash and number of rows.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise HistoryError(f"{path}: sha256 is {found}, the history says {sha256}: the file was changed")
    try:
        table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
    except pa.ArrowException as error:
        raise HistoryError(f"{path}: not an Arrow IPC file: {error}") from error
    if table.num_rows != rows:
        raise HistoryError(f"{path}: holds {table.num_rows} rows, the history says {rows}")
    return table


def history_sha256(path: Path) -> str:
    """The sha256, in hex, over names and contents of all files of a history's directory.

    Raises:
        HistoryError: the directory holds no history.
    """
    if not (path / HISTORY_FILE).is_file():
        raise HistoryError(f"{path}: holds no {HISTORY_FILE}")
    digest = hashlib.sha256()
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    for name in names:
        content = hashlib.sha256((path / name).read_bytes()).hexdigest()
        digest.update(f"{content}  {name}\n".encode())
    return digest.hexdigest()
