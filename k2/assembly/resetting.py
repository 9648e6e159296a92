"""Throwing a demo's data away: what would go, and its going.

| component | what goes | what stays |
|---|---|---|
| kafka | every message of K2's topics, dead letters too, and dead letter files | topics, and their offsets go on |
| iceberg | rows, history, progress and state of every table, all its files; the audit log | empty tables, made anew |
"""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from k2.assembly.demo import check_demo
from k2.assembly.tables import committed_offsets, open_catalog
from k2.errors import RefusedError
from k2.ingestion.topics import count_messages, delete_messages, log_ends
from k2.records.definition import RECORD_TYPES, all_topics, source_topics
from k2.settings import Settings
from k2.storage.removal import remove_table, table_content

KAFKA, ICEBERG = "kafka", "iceberg"
COMPONENTS = (KAFKA, ICEBERG)


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing that goes.

    Attributes:
        component: kafka or iceberg.
        kind: "messages", "table" or "files".
        name: of the topic, the table, or the file or folder.
        amount: messages, rows or files.
        size_bytes: of a table's files and of files; 0 where that is not known.
    """

    component: str
    kind: str
    name: str
    amount: int
    size_bytes: int = 0


def plan_reset(settings: Settings, directory: Path, keep: Collection[str]) -> list[Item]:
    """Everything that `carry_out` would remove now, in order; changes nothing.

    Args:
        settings: of the platform.
        directory: its data directory, which must be marked as a demo.
        keep: components that stay.

    Raises:
        RefusedError: it is no demo.
        UnavailableError: a server does not answer.
    """
    broker_keeps = check_demo(directory, settings)
    items: list[Item] = []
    if KAFKA not in keep:
        items += _kafka_items(settings, broker_keeps)
    if ICEBERG not in keep:
        items += _iceberg_items(settings)
    return items


def carry_out(settings: Settings, items: Collection[Item]) -> None:
    """Remove what a plan names; consumers, feeds and the API are stopped before.

    Raises:
        UnavailableError: a server does not answer; what is left goes with the next attempt.
        RefusedError: one of them refuses; or tables that stay lack messages that would go, and nothing was removed.
    """
    topics = [item.name for item in items if item.kind == "messages"]
    if topics and not any(item.component == ICEBERG for item in items):
        _refuse_unread_messages(settings)
    if topics:
        delete_messages(settings.kafka, topics)
    tables = [item.name for item in items if item.kind == "table"]
    if tables:
        catalog = open_catalog(settings)
        try:
            for name in tables:
                remove_table(catalog, name)
            catalog.create_tables([one for one in RECORD_TYPES.values() if one.table in tables])
        finally:
            catalog.close()
    for item in items:
        if item.kind == "files":
            _delete(Path(item.name))


def _kafka_items(settings: Settings, broker_keeps: bool) -> Iterator[Item]:
    counts = count_messages(settings.kafka, all_topics(settings.kafka.topic_prefix)) if broker_keeps else {}
    for topic, count in sorted(counts.items()):
        if count:
            yield Item(KAFKA, "messages", topic, count)
    yield from _files(KAFKA, settings.dead_letters.directory)


def _iceberg_items(settings: Settings) -> Iterator[Item]:
    catalog = open_catalog(settings)
    try:
        for record_type in RECORD_TYPES.values():
            content = table_content(catalog, record_type.table)
            # One that was made and never written to has a single file, and would only be made anew.
            if content is not None and (content.rows or content.files > 1 or not content.is_registered):
                yield Item(ICEBERG, "table", content.name, content.rows, content.size_bytes)
    finally:
        catalog.close()
    yield from _files(ICEBERG, settings.storage.audit_log)


def _files(component: str, place: Path) -> Iterator[Item]:
    found = [path for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file()]
    if found:
        yield Item(component, "files", str(place), len(found), sum(path.stat().st_size for path in found))


def _refuse_unread_messages(settings: Settings) -> None:
    """Without them a consumer would stop for good: its table needs offsets that no log holds."""
    stand = committed_offsets(settings)()
    ends = log_ends(settings.kafka, source_topics(settings.kafka.topic_prefix))
    missing = sum(end - stand.get(place, 0) for place, end in ends.items())
    if missing > 0:
        raise RefusedError(
            f"{missing} messages are not in the tables that are to be kept, whose consumers would stop for good "
            "without them: stop the feed and let the consumers catch up, or do not keep the tables"
        )


def _delete(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
