"""What the API tests share: the application over real files, called in this process, and served by a real server."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient

from k2.api.app import create_app
from k2.api.problems import Problem
from k2.clock import SystemClock
from k2.observability.logs import configure_logs
from k2.settings import ApiSettings, QuerySettings
from tests.query.table_files import Opened, open_engine

ROOT = Path(__file__).resolve().parents[2]
REQUEST_ID = "made-0"
MakeClient = Callable[..., TestClient]


@pytest.fixture(scope="module", autouse=True)
def one_line_logs() -> Iterator[None]:
    """What a served API writes; the default draws a picture of every traceback, which takes seconds."""
    configure_logs("INFO", json_lines=True)
    yield
    structlog.reset_defaults()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opened = open_engine(tmp_path, QuerySettings(pool_size=1, threads=2, memory_limit="512MB"))
    yield opened
    opened.pool.close()


@pytest.fixture
def make_client(opened: Opened) -> MakeClient:
    def make(**settings: Any) -> TestClient:
        app = create_app(
            opened.engine, ApiSettings(**settings), opened.metrics, SystemClock(), new_request_id=lambda: REQUEST_ID
        )
        return TestClient(app)

    return make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client()


def error_document(problem: Problem, message: str, **details: object) -> dict[str, Any]:
    """The whole envelope of an error of a request that brought no id."""
    return {
        "success": False,
        "error": {
            "type": f"/docs#{problem.code.lower()}",
            "title": problem.title,
            "status": problem.status,
            "detail": message,
            "instance": f"urn:k2:request:{REQUEST_ID}",
            "code": problem.code,
            "message": message,
            "request_id": REQUEST_ID,
            **details,
        },
    }


@dataclass(frozen=True)
class Served:
    """A served API: its process, its port and what it printed."""

    process: subprocess.Popen[str]
    port: int
    line: str

    def exchange(self, *pieces: bytes, timeout_seconds: float = 10.0) -> bytes:
        """Send pieces over a fresh connection and read until the server closes, or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_seconds) as connection:
            # A server that refused has answered and closed already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    connection.sendall(piece)
            return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the connection closes."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def served_api(folder: Path, **settings: Any) -> Iterator[Served]:
    """The API over the tables of a folder, in a process of its own, stopped with SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.api.serve_tables", str(folder), json.dumps({"port": 0, **settings})],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        yield Served(process, int(line.rpartition(":")[2] or 0), line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
