"""`k2 consume` with a metrics port: one clear line when it cannot be had."""

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import k2

PORT = "K2_CONSUMER__METRICS_PORT"


def test_a_taken_metrics_port_is_one_line_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = k2(tmp_path / "data", "consume", **{PORT: str(port)})
    assert answer.returncode == 69
    assert answer.stderr.splitlines() == [
        f"k2: port {port} on 127.0.0.1 is taken: stop what listens there or set {PORT} (0 picks a free port)"
    ]
    assert answer.stdout == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("port", ["-1", "65536", "some"])
def test_a_number_that_is_no_port_is_one_line(tmp_path: Path, port: str) -> None:
    answer = k2(tmp_path / "data", "consume", **{PORT: port})
    assert answer.returncode == 64
    assert len(answer.stderr.splitlines()) == 1
    assert f"setting consumer.metrics_port is '{port}'" in answer.stderr
