"""Dead letter files, read without K2: what each line holds, what each file is, and what a power cut would leave."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from conformance.drivers.log_tap import TappedMessage
from conformance.drivers.poisoning import digest

_LINE_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("size_bytes", pa.int64()),
        ("is_whole", pa.bool_()),
        ("run", pa.string()),
        ("topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("sha256", pa.string()),
    ]
)
_FILE_SCHEMA = pa.schema([("file", pa.string()), ("size_bytes", pa.int64()), ("sha256", pa.string())])


def line_table(directory: Path) -> pa.Table:
    """Stage `lines`: every line of every file, by name and in order."""
    rows = []
    for path in _files(directory):
        for number, line in enumerate(_lines(path), start=1):
            letter = _letter(line)
            rows.append(
                {
                    "file": path.name,
                    "line": number,
                    "size_bytes": len(line),
                    "is_whole": letter is not None,
                    "run": path.stem.rsplit("-", 2)[1],
                    "topic": letter and letter["topic"],
                    "kafka_partition": letter and letter["partition"],
                    "kafka_offset": letter and letter["offset"],
                    "sha256": letter and digest(letter["value"]),
                }
            )
    return pa.Table.from_pylist(rows, schema=_LINE_SCHEMA)


def file_table(directory: Path) -> pa.Table:
    """Stages `files` and `files_before`: size and hash of every file."""
    rows = []
    for path in _files(directory):
        content = path.read_bytes()
        rows.append(
            {"file": path.name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        )
    return pa.Table.from_pylist(rows, schema=_FILE_SCHEMA)


def letters_in_files(directory: Path) -> list[TappedMessage]:
    """The letters of whole lines as the dead letter topic would hold them: origin and error in headers."""
    lines = (line for path in _files(directory) for line in _lines(path))
    return [_as_message(letter) for line in lines if (letter := _letter(line)) is not None]


def read_evidence(path: Path) -> list[dict[str, Any]]:
    """What a writer of conformance.stacks.letter_writer says it did, but for a line that its end cut off."""
    lines = _lines(path) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def written_table(topic: str, evidence: Sequence[Sequence[dict[str, Any]]]) -> pa.Table:
    """Stage `written`: what each writer began to write to the partition of its number, and what counted as kept."""
    rows = []
    for writer, entries in enumerate(evidence):
        kept = {offset for entry in entries for offset in entry.get("kept", ())}
        for offset, sha256 in (begun for entry in entries for begun in entry.get("begun", ())):
            rows.append(
                {
                    "topic": topic,
                    "kafka_partition": writer,
                    "kafka_offset": offset,
                    "sha256": sha256,
                    "is_kept": offset in kept,
                }
            )
    return pa.Table.from_pylist(rows)


def all_kept(sent: pa.Table) -> pa.Table:
    """Stage `written` where every one of these messages must be in the files."""
    places = sent.select(["topic", "kafka_partition", "kafka_offset", "sha256"])
    return places.append_column("is_kept", pa.array([True] * sent.num_rows))


def after_a_power_cut(directory: Path, evidence: Sequence[Sequence[dict[str, Any]]], into: Path) -> Path:
    """A copy with what was synced alone: of each file its synced bytes, if its name had been synced too."""
    into.mkdir()
    entries = [entry for writer in evidence for entry in writer]
    listed = {name for entry in entries if entry.get("directory") == str(directory) for name in entry["listed"]}
    synced: dict[str, int] = {}
    for entry in entries:
        if "synced" in entry:
            synced[entry["synced"]] = max(entry["bytes"], synced.get(entry["synced"], 0))
    for path in _files(directory):
        if path.name in listed:
            (into / path.name).write_bytes(path.read_bytes()[: synced.get(path.name, 0)])
    return into


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


def _lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(file)


def _letter(line: bytes) -> dict[str, Any] | None:
    """Record and error of a line; None for what is not one whole letter."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
        record, error = entry["record"], entry["error"]
        return {
            "topic": record["topic"],
            "partition": record["partition"],
            "offset": record["offset"],
            "key": _bytes(record["key"]),
            "value": _bytes(record["value"]),
            "headers": [(name, _bytes(value)) for name, value in record["headers"]],
            "stage": error["stage"],
            "class": error["class"],
            "message": error["message"],
            "timestamp": entry["timestamp"],
        }
    except (ValueError, KeyError, TypeError):
        return None


def _as_message(letter: dict[str, Any]) -> TappedMessage:
    headers = [*letter["headers"], *((name, text.encode()) for name, text in _origin(letter))]
    return TappedMessage(f"{letter['topic']}.dlq", -1, -1, letter["key"], letter["value"], tuple(headers))


def _origin(letter: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("topic", "partition", "offset"):
        yield f"k2.source.{name}", str(letter[name])
    yield "k2.stage", letter["stage"]
    yield "k2.error.class", letter["class"]
    yield "k2.error.message", letter["message"]
    yield "k2.time", letter["timestamp"]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
