"""The embedded stack: broker, consumers and API as processes on loopback, files in one directory. No Docker."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from conformance.stacks import embedded_outages
from conformance.stacks.base import Monitoring, Outage, PowerMissingError, Servers
from conformance.stacks.processes import PlatformProcesses
from conformance.stacks.small_disk import SmallDisk
from k2.assembly.tables import create_tables
from k2.embedded.platform import claim_directory, write_settings
from k2.records.definition import TRADE, all_topics
from k2.settings import load_settings

SHORT_BUSY_TIMEOUT_SECONDS = 0.05


class EmbeddedStack(PlatformProcesses):
    """One embedded stack in a directory of its own; a context manager."""

    name = "embedded"

    def __init__(self, directory: Path, *, partitions: int = 4, batch_rows: int = 100_000) -> None:
        super().__init__(directory, batch_rows)
        self._partitions = partitions
        self._warehouse_bytes = 0
        self._held = ExitStack()

    def limit_warehouse(self, size_bytes: int) -> None:
        """Have the warehouse on a disk of its own, of this size; to be called before `start`."""
        self._warehouse_bytes = size_bytes

    def start(self) -> None:
        """Start the broker and create the tables.

        Raises:
            PowerMissingError: the warehouse is to be limited, and this user may not mount.
        """
        claim_directory(self.directory, keep=False).close()
        if self._warehouse_bytes:
            self._warehouse_disk = self._held.enter_context(
                SmallDisk(self.directory / "warehouse", self._warehouse_bytes)
            )
        topics = [part for name in all_topics() for part in ("--topic", name)]
        broker = self._spawn("broker", ["k2.embedded.broker", "--partitions", str(self._partitions), *topics])
        bootstrap_servers = json.loads(broker.next_line())["bootstrap_servers"]
        write_settings(self.directory, bootstrap_servers, api_port=0)
        self.settings = load_settings(self.directory)
        create_tables(self.settings)

    @contextmanager
    def outage(self, kind: Outage) -> Iterator[None]:
        """Have a dependency gone for as long as the context lasts."""
        gone: dict[Outage, Callable[[], AbstractContextManager[None]]] = {
            Outage.BROKER_DOWN: self._broker_down,
            Outage.BROKER_HUNG: lambda: embedded_outages.hung(self.process("broker")),
            Outage.CATALOG_LOCKED: lambda: embedded_outages.locked(self._catalog_file()),
            Outage.DISK_FULL: self._disk_full,
            Outage.SINK_SLOW: lambda: embedded_outages.slow(self._catalog_file()),
            Outage.WAREHOUSE_AWAY: lambda: embedded_outages.absent(self._tables_folder()),
        }
        if kind not in gone:
            raise PowerMissingError(f"the embedded stack has nothing that could be {kind.value.replace('_', ' ')}")
        with gone[kind]():
            yield

    def servers(self) -> Servers:
        """None here: what is served is in one process, or in files."""
        raise PowerMissingError("the embedded stack has no servers of their own that could be killed or parted")

    def monitoring(self) -> Monitoring:
        """None here."""
        raise PowerMissingError("the embedded stack has no Prometheus")

    def impatience(self) -> Mapping[str, str]:
        """Environment of a process that does not wait for a locked catalog."""
        return {"K2_STORAGE__CATALOG_URI": f"{self.settings.storage.catalog_uri}?timeout={SHORT_BUSY_TIMEOUT_SECONDS}"}

    def command_broker(self, do: str, **arguments: object) -> None:
        """Have the broker do one of k2.embedded.broker.COMMANDS.

        Raises:
            RuntimeError: it refused.
        """
        answer = self.process("broker").request({"do": do, **arguments})
        if not answer["ok"]:
            raise RuntimeError(f"{do}: {answer['error']}")

    def stop(self) -> None:
        """End all processes."""
        try:
            super().stop()
        finally:
            self._held.close()

    @contextmanager
    def _disk_full(self) -> Iterator[None]:
        self._warehouse_disk.fill()
        try:
            yield
        finally:
            self._warehouse_disk.free()

    def _tables_folder(self) -> Path:
        # Not the warehouse itself: a path that is no folder is a mistake in the settings, not an outage.
        return Path(self.settings.storage.warehouse) / TRADE.table.partition(".")[0]

    def _catalog_file(self) -> Path:
        return Path(self.settings.storage.catalog_uri.removeprefix("sqlite:///"))

    @contextmanager
    def _broker_down(self) -> Iterator[None]:
        self.command_broker("go_down")
        try:
            yield
        finally:
            self.command_broker("come_up")
