"""A reader that shares no line of code with K2 or PyIceberg: DuckDB's own iceberg_scan, in an environment of its own.

The extension exists for an older DuckDB than K2's, so both cannot be in one environment. It is created under build/
when it is first needed, from a lock file with hashes; where that cannot be done, nothing is said of what it would read.
"""

import fcntl
import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "independent-reader.txt"
FOLDER = ROOT / "build" / "independent-reader"
SECONDS = 180.0

_SCAN = """
import json, sys
from pathlib import Path
import duckdb, duckdb_extension_avro, duckdb_extension_iceberg

asked = json.load(sys.stdin)
connection = duckdb.connect(":memory:")
for module, name in ((duckdb_extension_avro, "avro"), (duckdb_extension_iceberg, "iceberg")):
    (path,) = Path(module.__file__).parent.rglob(f"{name}.duckdb_extension")
    connection.execute(f"LOAD '{path}'")
columns = ", ".join(f"CAST({name} AS VARCHAR)" for name in asked["columns"])
snapshot = "" if asked["snapshot_id"] is None else f", snapshot_from_id = {asked['snapshot_id']}"
rows = connection.execute(f"SELECT {columns} FROM iceberg_scan(?{snapshot})", [asked["metadata"]])
while chunk := rows.fetchmany(10_000):
    for row in chunk:
        print(json.dumps(row))
"""


class ReaderMissingError(Exception):
    """The reader's environment cannot be created; the message says why."""


def iceberg_scan(metadata: str, columns: Sequence[str], snapshot_id: int | None = None) -> list[dict[str, Any]]:
    """Rows of a table, every value as text.

    Args:
        metadata: the table's metadata file, on this machine.
        columns: which.
        snapshot_id: as of which snapshot; None for the current one.

    Raises:
        ReaderMissingError: there is no such reader here.
        ValueError: it cannot read the table.
    """
    asked = {"metadata": metadata.removeprefix("file://"), "columns": list(columns), "snapshot_id": snapshot_id}
    done = subprocess.run(
        [str(reader_python()), "-I", "-c", _SCAN],
        input=json.dumps(asked),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise ValueError(f"iceberg_scan cannot read the table: {_last_line(done.stderr)}")
    return [dict(zip(columns, json.loads(line), strict=True)) for line in done.stdout.splitlines()]


def reader_python() -> Path:
    """The interpreter of the reader's environment, created where it is missing or of another lock file.

    Raises:
        ReaderMissingError: it cannot be created.
    """
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".lock-sha256"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    with _one_at_a_time():
        if not (stamp.exists() and stamp.read_text() == wanted):
            _uv("venv", "--quiet", "--clear", "--python", ".venv/bin/python", str(FOLDER))
            _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK))
            stamp.write_text(wanted)
    return python


def _uv(*arguments: str) -> None:
    try:
        done = subprocess.run(
            ["scripts/uv.sh", *arguments], cwd=ROOT, check=False, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReaderMissingError(f"the independent reader cannot be installed: {error}") from error
    if done.returncode:
        raise ReaderMissingError(f"the independent reader cannot be installed: {_last_line(done.stderr)}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    FOLDER.parent.mkdir(exist_ok=True)
    with (FOLDER.parent / "independent-reader.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
