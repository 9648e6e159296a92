"""Whether everything a table names is there: manifests, data files, and the state checkpoints of its progress."""

from collections.abc import Iterator

import orjson
from pyiceberg.table import Table

from conformance.drivers.table_view import PROGRESS_PROPERTY, open_table
from k2.settings import StorageSettings


def missing_files(storage: StorageSettings, name: str) -> list[str]:
    """Files that the current snapshot needs and the store does not have."""
    table = open_table(storage, name)
    return sorted(path for path in _needed(table) if not table.io.new_input(path).exists())


def shrunken_snapshots(storage: StorageSettings, name: str) -> list[int]:
    """Snapshots whose progress lacks a partition of their parent's, or stands before it."""
    table = open_table(storage, name)
    offsets = {snapshot.snapshot_id: dict(_offsets(_progress(snapshot.summary))) for snapshot in table.snapshots()}
    shrunken = []
    for snapshot in table.snapshots():
        before = offsets.get(snapshot.parent_snapshot_id or 0, {})
        after = offsets[snapshot.snapshot_id]
        if any(after.get(place, -1) < offset for place, offset in before.items()):
            shrunken.append(snapshot.snapshot_id)
    return shrunken


def _needed(table: Table) -> Iterator[str]:
    snapshot = table.current_snapshot()
    if snapshot is None:
        return
    yield snapshot.manifest_list
    if not table.io.new_input(snapshot.manifest_list).exists():
        return
    for manifest in snapshot.manifests(table.io):
        yield manifest.manifest_path
        if table.io.new_input(manifest.manifest_path).exists():
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path
    for partitions in _partitions(_progress(snapshot.summary)):
        yield from (path for _, path in partitions.values() if path is not None)


def _progress(summary: object) -> dict[str, dict[str, dict[str, tuple[int, str | None]]]]:
    text = getattr(summary, "additional_properties", {}).get(PROGRESS_PROPERTY)
    clusters: dict[str, dict[str, dict[str, tuple[int, str | None]]]] = orjson.loads(text)["clusters"] if text else {}
    return clusters


def _partitions(
    clusters: dict[str, dict[str, dict[str, tuple[int, str | None]]]],
) -> Iterator[dict[str, tuple[int, str | None]]]:
    for topics in clusters.values():
        yield from topics.values()


def _offsets(clusters: dict[str, dict[str, dict[str, tuple[int, str | None]]]]) -> Iterator[tuple[str, int]]:
    for cluster, topics in clusters.items():
        for topic, partitions in topics.items():
            for partition, (offset, _) in partitions.items():
                yield f"{cluster}/{topic}/{partition}", offset
