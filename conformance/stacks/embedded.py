"""The embedded stack: broker, consumers and API as processes on loopback, files in one directory. No Docker."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from conformance.stacks import embedded_outages
from conformance.stacks.base import Outage
from conformance.stacks.processes import PlatformProcesses
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

    def start(self) -> None:
        """Start the broker and create the tables."""
        claim_directory(self.directory, keep=False).close()
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
            Outage.WAREHOUSE_AWAY: lambda: embedded_outages.absent(self._tables_folder()),
        }
        with gone[kind]():
            yield

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
