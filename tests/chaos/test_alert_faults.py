"""Faults that need no servers: the disk that is filled, and the one that Pushgateway says is full."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import cast

import pytest

from chaos.alerts.faults import FULL, ROOM, DiskFilled, DiskPretended
from chaos.alerts.platform import AlertPlatform
from conformance.history import Header, History, HistoryWriter
from conformance.stacks.base import PowerMissingError
from conformance.stacks.small_disk import SmallDisk

NO_PLATFORM = cast("AlertPlatform", None)


class Pushgateway(HTTPServer):
    """What was put is shown at /metrics until it is deleted, as Pushgateway does."""

    def __init__(self) -> None:
        self.pushed: dict[str, bytes] = {}
        self.keeps = False
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Pushgateway

    def do_GET(self) -> None:
        self.answer(b"".join(self.server.pushed.values()))

    def do_PUT(self) -> None:
        self.server.pushed[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def do_DELETE(self) -> None:
        if not self.server.keeps:
            self.server.pushed.pop(self.path, None)
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Pushgateway]:
    with Pushgateway() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def history(path: Path) -> HistoryWriter:
    return HistoryWriter(path, Header("alerts/matrix", (), "alert_matrix", 1, "containers", 0, {}))


@pytest.mark.parametrize("keeps", [False, True])
def test_a_disk_that_is_pretended_full_is_taken_back_and_that_is_looked_at(
    gateway: Pushgateway, tmp_path: Path, keeps: bool
) -> None:
    gateway.keeps = keeps
    with history(tmp_path / "history") as writer:
        fault = DiskPretended(NO_PLATFORM, gateway.url, writer)
        (probe,) = fault.probes
        assert (fault.is_injected, probe.look().text) == (True, ROOM)
        fault.inject()
        assert probe.look().text == FULL
        fault.heal()
    (injection,) = History.read(tmp_path / "history").of_action("injection")
    assert injection.attributes == {"metric": "k2_disk_free_bytes", "is_deleted": not keeps}


def test_a_small_disk_is_filled_and_freed(tmp_path: Path) -> None:
    try:
        with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
            fault = DiskFilled(NO_PLATFORM, disk)
            (probe,) = fault.probes
            before = probe.look()
            fault.inject()
            during = probe.look()
            fault.heal()
            assert [one.text for one in (before, during, probe.look())] == [ROOM, FULL, ROOM]
            assert (before.is_well, during.is_well, fault.is_injected) == (True, False, False)
    except PowerMissingError as error:
        pytest.skip(str(error))
