"""Makes parts of a table's data files unreadable: who answers all the same has not read them.

Files are named by PyIceberg and their parts by Parquet's own footer, so nothing of K2 says what is damaged.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from urllib.parse import urlparse

import pyarrow.parquet as pq

from conformance.drivers.table_view import open_table
from k2.settings import StorageSettings

_NOISE = b"\xff"


def data_files(storage: StorageSettings, table: str, wanted: Callable[[int, str], bool]) -> list[Path]:
    """The table's current data files of the partitions that are wanted.

    Args:
        storage: where the table is; its files must be on this machine.
        table: which.
        wanted: of a partition's day (days since 1970) and exchange.
    """
    tasks = open_table(storage, table).scan().plan_files()
    return [
        Path(urlparse(task.file.file_path).path)
        for task in tasks
        if wanted(int(task.file.partition[0]), str(task.file.partition[1]))
    ]


def take_away(files: Collection[Path]) -> None:
    """Rename files, so that whoever opens one by its name fails."""
    for path in files:
        path.rename(path.with_suffix(".away"))


def garble_columns(path: Path, kept: Collection[str]) -> list[str]:
    """Overwrite every column of a Parquet file but those kept; returns the names of those that are gone."""
    gone = dict.fromkeys(name for name, _, _ in _chunks(path) if name not in kept)
    chunks = [(start, length) for name, start, length in _chunks(path) if name in gone]
    with path.open("r+b") as file:
        for start, length in chunks:
            file.seek(start)
            file.write(_NOISE * length)
    return list(gone)


def _chunks(path: Path) -> Iterator[tuple[str, int, int]]:
    """Column, first byte and length of each column chunk."""
    footer = pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            chunk = footer.row_group(group).column(number)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            yield chunk.path_in_schema.split(".")[0], start, chunk.total_compressed_size
