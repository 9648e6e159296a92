"""A matrix is carried out: each fault is undone once its alerts were heard, whatever happens, and all of it is kept."""

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaos.alerts.execution import MatrixRun
from chaos.alerts.faults import ROOM, Look
from chaos.alerts.matrix import FaultGroup, MatrixEntry
from chaos.alerts.receiver import AlertReceiver
from chaos.alerts.watch import AlertWatch
from chaos.faults.fault import SHOWS, Effect, TimedFault
from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, HistoryWriter
from conformance.judge import judge

ENTRY = MatrixEntry("kill", "kafka-2", ("KafkaBrokerDown",), least_seconds=2.0)
GROUP = FaultGroup("a broker", (ENTRY,))


class FakePrometheus:
    """Answers what fires; a server of its own, as Prometheus is."""

    def __init__(self) -> None:
        self.firing: list[str] = []
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                alerts = [{"labels": {"alertname": name}, "state": "firing"} for name in world.firing]
                body = json.dumps({"data": {"alerts": alerts}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True)
class Broken(TimedFault):
    """A fault that Prometheus and Alertmanager hear of, unless the alert is deaf."""

    prometheus: FakePrometheus
    receiver: AlertReceiver
    raises: bool = False
    is_there: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.probes = [Look("broker", lambda: "gone" if self.is_there else ROOM, "gone")]
        self.effects = [Effect(SHOWS, ("broker",), 0.6, ("gone",))]

    def inject(self) -> Mapping[str, Any]:
        self.is_there = True
        if self.raises:
            raise OSError("half done")
        self.prometheus.firing = ["KafkaBrokerDown"]
        tell(self.receiver, "firing")
        return {"how": "at once"}

    def heal(self) -> None:
        self.is_there = False
        self.prometheus.firing = []
        tell(self.receiver, "resolved")


def tell(receiver: AlertReceiver, status: str) -> None:
    labels = {"alertname": "KafkaBrokerDown", "severity": "critical"}
    body = json.dumps({"alerts": [{"status": status, "labels": labels, "fingerprint": "f"}]}).encode()
    with urllib.request.urlopen(f"http://{receiver.address}/pager", body, timeout=10):
        return


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    world = FakePrometheus()
    yield world
    world.close()


@contextmanager
def running(path: Path, prometheus: FakePrometheus, raises: bool = False) -> Iterator[tuple[MatrixRun, Broken]]:
    parameters = {"named": ["KafkaBrokerDown"], "least_real": 1, "control_seconds": 1, "longest_look_seconds": 5}
    header = Header("alerts/matrix", (), "alert_matrix", 1, "containers", 0, parameters)
    with (
        HistoryWriter(path, header) as history,
        AlertReceiver("127.0.0.1") as receiver,
        AlertWatch(prometheus.url) as watch,
    ):
        fault = Broken(prometheus, receiver, raises)
        yield MatrixRun(lambda _: fault, watch, receiver, history, lambda text: None), fault


def test_a_run_without_a_flaw_passes(tmp_path: Path, prometheus: FakePrometheus) -> None:
    with running(tmp_path / "history", prometheus) as (run, fault):
        run.warm_up(0.1)
        run.control(1.0)
        run.carry_out(GROUP)
        run.observe()
    assert not fault.is_there
    verdict = judge(tmp_path / "history")
    assert verdict.outcome is Outcome.PASS, verdict.reason
    (kept,) = History.read(tmp_path / "history").of_action("fault")
    assert (kept.attributes["kept"], kept.attributes["is_injected"]) == ({"how": "at once"}, False)
    lasted = (kept.attributes["healing_wall_ns"] - kept.attributes["injecting_wall_ns"]) / 1e9
    assert lasted >= ENTRY.least_seconds


def test_a_fault_that_is_half_done_is_undone(tmp_path: Path, prometheus: FakePrometheus) -> None:
    with pytest.raises(OSError, match="half done"), running(tmp_path / "history", prometheus, True) as (run, fault):
        run.carry_out(GROUP)
    assert not fault.is_there
    assert judge(tmp_path / "history").outcome is Outcome.UNKNOWN


def test_a_probe_that_cannot_look_is_not_well() -> None:
    def fails() -> str:
        raise ConnectionRefusedError

    assert Look("server", fails).look().text == "ConnectionRefusedError"
    assert not Look("server", fails).look().is_well
