"""`make up` and `make down`: docker-compose runs what the harness runs, and what cannot be done is one line."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from conformance.stacks.containers import composition, deployment
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.deployment import compose_program, down, up
from conformance.stacks.containers.errors import EngineError, PortTakenError, ServiceError

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).resolve().parents[2]
PROJECT = f"k2-test-{os.getpid()}"
LABEL = f"com.docker.compose.project={PROJECT}"
PATIENCE_SECONDS = 90.0


@pytest.fixture
def ports() -> dict[str, str]:
    """A free port for each variable that names one."""
    names = composition.port_defaults(ROOT / composition.COMPOSE_FILE)
    sockets = [socket.socket() for _ in names]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = {name: str(each.getsockname()[1]) for name, each in zip(names, sockets, strict=True)}
    for each in sockets:
        each.close()
    return found


@pytest.fixture(autouse=True)
def _with_docker_compose(engine: EngineClient) -> None:
    try:
        compose_program()
    except EngineError as error:
        pytest.skip(str(error))


def test_it_comes_up_answers_and_goes_down_again(engine: EngineClient, ports: dict[str, str], tmp_path: Path) -> None:
    environment = {**os.environ, **ports}
    said: list[str] = []
    try:
        up(environment, said.append, tmp_path, PROJECT)
        assert said[-2].startswith("up after ")
        url = f"http://127.0.0.1:{ports['API_PORT']}/v1/trades?symbol=BTCUSDT&limit=1"
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not _data(url):
            assert time.monotonic() < give_up_at
            time.sleep(0.5)
        while not (states := _states(engine)) <= {"healthy", "unknown"}:
            assert time.monotonic() < give_up_at, states
            time.sleep(0.5)
        query = ["k2.cli", "--data-dir", str(tmp_path / "k2"), "query", "trades", "--symbol", "BTCUSDT", "--limit", "1"]
        asked = subprocess.run([sys.executable, "-m", *query], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "BTCUSDT" in asked.stdout
        private = [tmp_path / "k2" / "settings.json", tmp_path / "variables.env", *(tmp_path / "secrets").iterdir()]
        assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
        down(environment, said.append, tmp_path, PROJECT)
        assert engine.containers(LABEL) == []
        # Its data is kept, and the passwords without which nobody gets at it.
        kept = yaml.safe_load((ROOT / composition.COMPOSE_FILE).read_text())["volumes"]
        assert {labels["com.docker.compose.volume"] for labels in engine.labels(LABEL)} == set(kept)
        with pytest.raises(ServiceError, match="of an earlier deployment are there"):
            up(environment, said.append, tmp_path / "elsewhere", PROJECT)
    finally:
        down(environment, said.append, tmp_path, PROJECT, forget=True)
    assert engine.labels(LABEL) == []
    assert not tmp_path.exists()


def test_a_port_that_is_taken_is_one_line_with_what_to_type(ports: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError) as raised:
            up({**os.environ, **ports, "REDIS_PORT": str(port)}, print, tmp_path, PROJECT)
    assert str(raised.value).startswith(f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose ")
    assert raised.value.exit_code == 69
    assert list(tmp_path.iterdir()) == []


def test_what_was_never_started_needs_no_stop(tmp_path: Path) -> None:
    said: list[str] = []
    down(dict(os.environ), said.append, tmp_path, PROJECT)
    assert said == ["nothing was started here; nothing to stop"]


def test_without_docker_compose_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match="apt-get install docker-compose"):
        deployment.compose_program()


def _states(engine: EngineClient) -> set[str]:
    """What the health checks of all containers say, but that of the one that is done."""
    found = engine.containers(LABEL)
    return {engine.health(container) for container in found if engine.exit_status(container) != 0}


def _data(url: str) -> list[object]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return list(json.load(answer)["data"])
