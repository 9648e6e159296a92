"""Removing a table with every file it ever wrote; for platforms that are thrown away."""

from dataclasses import dataclass

from pyarrow import fs
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2.errors import UsageError
from k2.resilience.failures import translated
from k2.storage.addresses import catalog_properties
from k2.storage.catalog import IcebergCatalog


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table is now.

    Attributes:
        name: of the table.
        rows: in its current snapshot.
        files: below its place in the warehouse, whether a snapshot names them or not.
        size_bytes: of those.
    """

    name: str
    rows: int
    files: int
    size_bytes: int


def table_content(catalog: IcebergCatalog, name: str) -> TableContent | None:
    """What there is of a table; None where there is none.

    Raises:
        UnavailableError: catalog or warehouse does not answer.
    """
    try:
        table = catalog.load(name)
    except UsageError:
        return None
    snapshot = table.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary is not None else {}
    files, path = _place(catalog, table.location())
    try:
        with catalog.guard_store():
            found = [info for info in files.get_file_info(_below(path)) if info.is_file]
    except OSError as error:
        raise translated(error, f"{table.location()} cannot be listed") from error
    size_bytes = sum(info.size or 0 for info in found)
    return TableContent(name, int(summary.get("total-records", 0)), len(found), size_bytes)


def remove_table(catalog: IcebergCatalog, name: str) -> None:
    """Have the catalog forget a table, then delete all files below its place; one that is not there is no error.

    Raises:
        UnavailableError: catalog or warehouse does not answer.
        RefusedError: one of them refuses.
    """
    try:
        location = catalog.load(name).location()
    except UsageError:
        return
    catalog.forget(name)
    files, path = _place(catalog, location)
    try:
        with catalog.guard_store():
            delete_tree(files, path)
    except OSError as error:
        raise translated(error, f"{location} cannot be deleted") from error


def delete_tree(files: fs.FileSystem, path: str) -> None:
    """Delete everything below a path, and the path; one that is not there is no error.

    Object stores are asked to delete in any order; those that keep a folder as an object refuse while something is in
    it. So what was refused is asked for again, as long as that leaves less.

    Raises:
        OSError: something is left.
    """
    left = None
    while files.get_file_info(path).type != fs.FileType.NotFound:
        found = len(files.get_file_info(_below(path)))
        try:
            files.delete_dir(path)
        except OSError:
            if left is not None and found >= left:
                raise
            left = found
        else:
            return


def _place(catalog: IcebergCatalog, location: str) -> tuple[fs.FileSystem, str]:
    scheme, _, path = location.rpartition("://")
    file_io = PyArrowFileIO(catalog_properties(catalog.settings))
    return file_io.fs_by_scheme(scheme or "file", path.partition("/")[0]), path


def _below(path: str) -> fs.FileSelector:
    return fs.FileSelector(path, recursive=True, allow_not_found=True)
