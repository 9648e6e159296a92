"""Removing a table with every file it ever wrote; for platforms that are thrown away."""

from dataclasses import dataclass

from pyarrow import fs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from k2.errors import UsageError
from k2.resilience.failures import translated
from k2.storage.addresses import catalog_properties
from k2.storage.catalog import IcebergCatalog


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table is now.

    Attributes:
        name: of the table.
        is_registered: False where a removal that did not get to its end left files that the catalog has forgotten.
        rows: in its current snapshot.
        files: below its place in the warehouse, whether a snapshot names them or not.
        size_bytes: of those.
    """

    name: str
    is_registered: bool
    rows: int
    files: int
    size_bytes: int


def table_content(catalog: IcebergCatalog, name: str) -> TableContent | None:
    """What there is of a table; None where there is nothing.

    Raises:
        UnavailableError: catalog or warehouse does not answer.
    """
    table = _registered(catalog, name)
    snapshot = table.current_snapshot() if table is not None else None
    summary = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary is not None else {}
    location = table.location() if table is not None else catalog.place_of(name)
    files, path = _place(catalog, location)
    try:
        with catalog.guard_store():
            found = [info for info in files.get_file_info(_below(path)) if info.is_file]
    except OSError as error:
        raise translated(error, f"{location} cannot be listed") from error
    if table is None and not found:
        return None
    size_bytes = sum(info.size or 0 for info in found)
    return TableContent(name, table is not None, int(summary.get("total-records", 0)), len(found), size_bytes)


def remove_table(catalog: IcebergCatalog, name: str) -> None:
    """Have the catalog forget a table, then delete all files below its place.

    What is not there is no error, so what a removal left that did not get to its end goes with the next.

    Raises:
        UnavailableError: catalog or warehouse does not answer.
        RefusedError: one of them refuses.
    """
    table = _registered(catalog, name)
    location = table.location() if table is not None else catalog.place_of(name)
    if table is not None:
        catalog.forget(name)
    try:
        with catalog.guard_store():
            delete_tree(*_place(catalog, location))
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
        try:
            files.delete_dir(path)
        except OSError:
            found = len(files.get_file_info(_below(path)))
            if left is not None and found >= left:
                raise
            left = found
        else:
            return


def _registered(catalog: IcebergCatalog, name: str) -> Table | None:
    try:
        return catalog.load(name)
    except UsageError:
        return None


def _place(catalog: IcebergCatalog, location: str) -> tuple[fs.FileSystem, str]:
    scheme, _, path = location.rpartition("://")
    file_io = PyArrowFileIO(catalog_properties(catalog.settings))
    return file_io.fs_by_scheme(scheme or "file", path.partition("/")[0]), path


def _below(path: str) -> fs.FileSelector:
    return fs.FileSelector(path, recursive=True, allow_not_found=True)
