"""Writes records of one type as a CSV file that the CSV feed reads.

Reading the file gives the records again; only their session differs, since a file is its own session.
"""

import csv
import gzip
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

from k2.errors import CaptureError
from k2.feeds.feed import FeedRecord
from k2.feeds.instants import NS_PER_SECOND
from k2.records.definition import RecordType

_NOT_WRITTEN = ("session", "session_sequence", "asset_class", "vendor_data")


def write_csv(records: Iterable[FeedRecord], record_type: RecordType, path: Path, *, compressed: bool = False) -> int:
    """Write a CSV file. The same records give the same bytes.

    Args:
        records: records of one type, without vendor_data, in the order to be written; others are left out.
        record_type: the type.
        path: where to; replaced if there.
        compressed: gzip, else plain text.

    Returns:
        Number of lines written, the header among them.

    Raises:
        CaptureError: the file cannot be written.
    """
    names = [field.name for field in record_type.fields if field.name not in _NOT_WRITTEN]
    lines = 1
    try:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("wb"))
            if compressed:
                # Without a name and a time in its header the file depends on the records alone.
                archive = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                file = cast("IO[bytes]", stack.enter_context(archive))
            text = stack.enter_context(TextIOWrapper(file, encoding="utf-8", newline=""))
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([name.removesuffix("_ns") for name in names])
            for item in records:
                if item.data_type == record_type.data_type:
                    writer.writerow([_cell(name, item.record[name]) for name in names])
                    lines += 1
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror}; check the path and the disk") from error
    return lines


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_ns"):
        second, rest = divmod(value, NS_PER_SECOND)
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    return str(value)
