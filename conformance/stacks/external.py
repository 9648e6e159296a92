"""A stack on servers that are somebody else's: their addresses come from a file, and what is made there is removed.

The file is a settings.json as K2 itself reads it from a data directory. Each stack gets topics, a consumer group,
subjects, a catalog name and a folder of the warehouse that bear a name of the run. What it needs there: to create and
delete topics of that prefix, to read and write in the catalog's database, and the warehouse's bucket.
"""

import itertools
import json
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy
from pyarrow import fs
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

from conformance.stacks.base import Monitoring, Outage, PowerMissingError, Servers
from conformance.stacks.containers.kafka_cluster import KafkaCluster
from conformance.stacks.containers.run_secrets import write_private
from conformance.stacks.processes import PlatformProcesses
from k2.assembly.tables import create_tables
from k2.embedded.platform import HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS
from k2.errors import UsageError
from k2.records.definition import all_topics
from k2.settings import SETTINGS_FILE, Settings, load_settings
from k2.storage.addresses import catalog_properties
from k2.storage.removal import delete_tree


class ExternalServers:
    """The servers that a settings file names.

    Args:
        addresses: the file, or a data directory that has one.

    Raises:
        UsageError: it cannot be read, or lacks what a platform needs.
    """

    def __init__(self, addresses: Path) -> None:
        path = addresses / SETTINGS_FILE if addresses.is_dir() else addresses
        try:
            self._values: dict[str, dict[str, Any]] = json.loads(path.read_text())
            self._warehouse = str(self._values["storage"]["warehouse"]).rstrip("/")
            self._bootstrap_servers = str(self._values["kafka"]["bootstrap_servers"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} does not name the servers of a platform ({error!r}): --addresses takes a settings.json with "
                "kafka.bootstrap_servers and storage.warehouse, such as build/compose/k2 after `make up`"
            ) from None
        self._run = f"run-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)

    def stack(self, directory: Path, *, partitions: int = 4, batch_rows: int = 100_000) -> "ExternalStack":
        """A platform of its own on these servers."""
        name = f"{self._run}-{next(self._numbers)}"
        return ExternalStack(directory, self._settings(name), partitions, batch_rows)

    def _settings(self, name: str) -> dict[str, dict[str, Any]]:
        kafka, storage = self._values["kafka"], self._values["storage"]
        return {
            **self._values,
            "kafka": {
                **kafka,
                "topic_prefix": f"{kafka.get('topic_prefix', '')}{name}.",
                "group_id": f"{kafka.get('group_id', 'k2')}-{name}",
                "session_timeout_ms": SESSION_TIMEOUT_MS,
                "heartbeat_interval_ms": HEARTBEAT_INTERVAL_MS,
            },
            "storage": {**storage, "catalog_name": name, "warehouse": f"{self._warehouse}-{name}"},
            "consumer": {**self._values.get("consumer", {}), "accept_new_cluster": True},
            "api": {**self._values.get("api", {}), "host": "127.0.0.1", "port": 0},
        }


class ExternalStack(PlatformProcesses):
    """One platform on somebody's servers; a context manager.

    Args:
        directory: of this platform alone; gets settings (with passwords, for its owner only) and logs.
        values: its settings.
        partitions: of every topic.
        batch_rows: largest batch of a consumer.
    """

    name = "external"

    def __init__(
        self, directory: Path, values: Mapping[str, Mapping[str, Any]], partitions: int, batch_rows: int
    ) -> None:
        super().__init__(directory, batch_rows)
        self._values = values
        self._partitions = partitions
        self._cluster = KafkaCluster(values["kafka"]["bootstrap_servers"])

    def start(self) -> None:
        """Create topics and tables."""
        write_private(self.directory / SETTINGS_FILE, json.dumps(self._values, indent=2) + "\n")
        self.settings = load_settings(self.directory)
        self._cluster.create_topics(all_topics(self.settings.kafka.topic_prefix), self._partitions)
        create_tables(self.settings)

    def limit_warehouse(self, size_bytes: int) -> None:
        """Not here."""
        raise PowerMissingError("somebody else's warehouse has the disk it has")

    def outage(self, kind: Outage) -> AbstractContextManager[None]:
        """Not here: others may use these servers."""
        raise PowerMissingError(f"somebody else's servers are not touched: no {kind.value.replace('_', ' ')}")

    def servers(self) -> Servers:
        """Not here."""
        raise PowerMissingError("somebody else's servers are not killed, frozen or parted")

    def monitoring(self) -> Monitoring:
        """Not here: somebody else's Prometheus does not know this host's processes."""
        raise PowerMissingError("somebody else's Prometheus does not ask the processes of this host")

    def impatience(self) -> Mapping[str, str]:
        """Nothing is locked here."""
        return {}

    def command_broker(self, do: str, **arguments: object) -> None:
        """Not here."""
        raise PowerMissingError(f"somebody else's brokers are not made to {do.replace('_', ' ')}")

    def stop(self) -> None:
        """End all processes, and remove topics, tables and files of this platform."""
        super().stop()
        if hasattr(self, "settings"):
            self._cluster.delete_topics(all_topics(self.settings.kafka.topic_prefix))
            remove_tables(self.settings)


def remove_tables(settings: Settings) -> None:
    """Every table and namespace of a catalog name, and every file of its warehouse."""
    properties = catalog_properties(settings.storage)
    catalog = SqlCatalog(settings.storage.catalog_name, **properties)
    try:
        for (namespace,) in catalog.list_namespaces():
            for table in catalog.list_tables(namespace):
                catalog.drop_table(table)
            catalog.drop_namespace(namespace)
    finally:
        catalog.engine.dispose()
    delete_tree(*_warehouse(settings))


def left_of(settings: Settings) -> list[str]:
    """What of a platform is still there: topics, catalog entries, files."""
    topics = KafkaCluster(settings.kafka.bootstrap_servers).topics()
    left = sorted(topics & set(all_topics(settings.kafka.topic_prefix)))
    engine = sqlalchemy.create_engine(catalog_properties(settings.storage)["uri"], poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        rows = connection.execute(
            sqlalchemy.text("SELECT table_name FROM iceberg_tables WHERE catalog_name = :name"),
            {"name": settings.storage.catalog_name},
        )
        left += [f"table {row[0]}" for row in rows]
    files, path = _warehouse(settings)
    if files.get_file_info(path).type != fs.FileType.NotFound:
        left += [info.path for info in files.get_file_info(fs.FileSelector(path, recursive=True))]
    return left


def _warehouse(settings: Settings) -> tuple[fs.FileSystem, str]:
    """The file system of the warehouse, and where in it the warehouse is."""
    scheme, _, path = settings.storage.warehouse.rpartition("://")
    file_io = PyArrowFileIO(catalog_properties(settings.storage))
    return file_io.fs_by_scheme(scheme or "file", path.partition("/")[0]), path
