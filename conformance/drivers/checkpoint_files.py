"""Takes state checkpoints away, as a careless hand in the warehouse does."""

import orjson

from conformance.drivers.table_view import PROGRESS_PROPERTY, open_table
from conformance.stacks.base import Stack
from k2.records.definition import RecordType


def lose_newest_checkpoint(stack: Stack, record_type: RecordType) -> str:
    """Delete a checkpoint that only the newest snapshot of a table names; its path.

    Raises:
        ValueError: the table has no two snapshots.
    """
    table = open_table(stack.settings.storage, record_type.table)
    named = []
    for snapshot in table.metadata.snapshots[-2:]:
        text = snapshot.summary.additional_properties.get(PROGRESS_PROPERTY, "") if snapshot.summary else ""
        clusters = orjson.loads(text)["clusters"].values()
        named.append({entry[1] for topics in clusters for places in topics.values() for entry in places.values()})
    if len(named) < 2:
        raise ValueError(f"{record_type.table} has no snapshot to go back to")
    path = str(min(named[1] - named[0]))
    table.io.delete(path)
    return path
