"""A daemon started here is known again, and only that one is stopped. The daemon is a script of the test."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conformance.stacks.containers import dockerd
from conformance.stacks.containers.errors import EngineError


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "state"
    directory.mkdir()
    yield directory
    dockerd.stop(directory)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script called dockerd first on the path."""
    daemon = folder / "tools" / "dockerd"
    daemon.parent.mkdir()
    daemon.write_text(f"#!/bin/sh\n{script}\n")
    daemon.chmod(0o755)
    monkeypatch.setenv("PATH", f"{daemon.parent}:{os.environ['PATH']}")


def note(directory: Path, process_id: int, created_at: float) -> None:
    (directory / "started.json").write_text(json.dumps({"process_id": process_id, "created_at": created_at}))


def test_a_daemon_is_started_in_a_session_of_its_own_and_stopped_with_what_it_started(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "sleep 60 & trap 'kill $!' TERM; echo ready; wait")
    said: list[str] = []
    log = state / "dockerd.log"
    daemon = dockerd.start(state, lambda: log.read_text() == "ready\n", said.append)
    assert dockerd.started_daemon(state) == daemon
    assert os.getsid(daemon.process_id) == daemon.process_id
    assert said == [f"starting dockerd, log in {log} ..."]
    family = [psutil.Process(daemon.process_id), *psutil.Process(daemon.process_id).children()]
    assert len(family) == 2
    assert dockerd.stop(state)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert dockerd.started_daemon(state) is None
    assert not dockerd.stop(state)


def test_a_daemon_that_ends_at_once_is_reported_with_its_last_words(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "echo 'failed to start: no iptables' >&2; exit 1")
    with pytest.raises(EngineError, match="dockerd ended at once: failed to start: no iptables; see"):
        dockerd.start(state, lambda: False, lambda _: None)
    assert not (state / "started.json").exists()


def test_an_interrupted_start_leaves_no_daemon(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "exec sleep 60")
    seen: list[dockerd.StartedDaemon | None] = []

    def interrupted() -> bool:
        seen.append(dockerd.started_daemon(state))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dockerd.start(state, interrupted, lambda _: None)
    (daemon,) = seen
    assert daemon is not None
    assert daemon.process() is None


def test_another_process_that_got_the_same_id_is_left_alone(state: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        note(state, bystander.pid, psutil.Process(bystander.pid).create_time() - 100.0)
        assert dockerd.started_daemon(state) is None
        assert not dockerd.stop(state)
        assert bystander.poll() is None
        bystander.kill()


def test_a_daemon_that_was_not_started_here_is_left_alone(state: Path) -> None:
    assert dockerd.started_daemon(state) is None
    assert not dockerd.stop(state)


def test_the_daemon_inherits_how_to_reach_the_network_and_nothing_else() -> None:
    environment = {"PATH": "/bin", "HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "CI_RUN_MARK": "1"}
    environment["AWS_SECRET_ACCESS_KEY"] = "hidden"
    assert dockerd.daemon_environment(environment) == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy:3128",
        "no_proxy": "localhost",
    }


def test_packets_of_containers_fit_the_narrowest_interface_that_is_up(tmp_path: Path) -> None:
    for name, state, mtu in (("lo", "unknown", 65536), ("eth0", "up", 1400), ("tun0", "down", 1280)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "operstate").write_text(f"{state}\n")
        (tmp_path / name / "mtu").write_text(f"{mtu}\n")
    (tmp_path / "bonding_masters").touch()
    assert dockerd.smallest_mtu(tmp_path) == 1400
    assert dockerd.smallest_mtu(tmp_path / "missing") == 1500


def test_stopping_takes_no_longer_than_the_daemon(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "exec sleep 60")
    dockerd.start(state, lambda: True, lambda _: None)
    started = time.monotonic()
    assert dockerd.stop(state)
    assert time.monotonic() - started < 20
