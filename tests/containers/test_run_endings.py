"""However a run ends, nothing of it stays; and what lives is never touched by another's clearing up."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.ownership import RUN_LABEL
from conformance.stacks.containers.services import ContainerServices, remove_orphans

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120.0


class Runner:
    """Another process that starts servers, caught half-way: some run, others are still starting."""

    def __init__(self, engine: EngineClient, directory: Path) -> None:
        before = self._runs(engine)
        command = [sys.executable, "-m", "conformance.stacks.containers", "serve", str(directory)]
        self._engine = engine
        self.directory = directory
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not (new := self._runs(engine) - before):
            assert time.monotonic() < give_up_at
            assert self.process.poll() is None
            time.sleep(0.1)
        (self.run_id,) = new
        while self.left() < 4:
            assert time.monotonic() < give_up_at
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Signal it as a terminal does; exit status and what it said."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, said

    def left(self) -> int:
        """How many containers, networks and volumes carry its label."""
        return len(self._engine.labels(f"{RUN_LABEL}={self.run_id}"))

    @staticmethod
    def _runs(engine: EngineClient) -> set[str]:
        return {labels[RUN_LABEL] for labels in engine.labels(RUN_LABEL)}


def test_a_killed_run_is_cleared_up_by_the_next_and_a_living_one_is_not(
    engine: EngineClient, services: ContainerServices, tmp_path: Path
) -> None:
    ours = len(engine.labels(f"{RUN_LABEL}={services.run_id}"))
    begun = time.time()
    runner = Runner(engine, tmp_path)
    assert remove_orphans(engine, print) == []
    assert runner.left() >= 4
    status, _ = runner.end(signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert runner.left() >= 4
    said: list[str] = []
    assert remove_orphans(engine, said.append) == [runner.run_id]
    assert said == [f"removed what run {runner.run_id} left behind: its process has ended"]
    assert runner.left() == 0
    assert len(engine.labels(f"{RUN_LABEL}={services.run_id}")) == ours
    assert services.unexpected_errors(begun) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_clears_up_itself(engine: EngineClient, tmp_path: Path, number: signal.Signals) -> None:
    runner = Runner(engine, tmp_path)
    status, said = runner.end(number)
    assert status == 130
    assert said.splitlines()[-1].startswith("conformance: interrupted")
    assert "Traceback" not in said
    assert runner.left() == 0
    assert not (tmp_path / "secrets").exists()
    assert list((tmp_path / "services").glob("*.log"))
