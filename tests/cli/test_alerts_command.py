"""`k2 alerts` as operators use it: what it says, and what it exits with."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, k2
from tests.observability.prometheus_server import alerts_server, entry

PATIENCE_SECONDS = 30.0
RULES = ROOT / "deploy" / "prometheus" / "rules"


def test_our_rules_are_sound_and_counted(tmp_path: Path) -> None:
    done = k2(tmp_path, "alerts", "validate")
    assert (done.returncode, done.stdout) == (0, "31 alerts and 19 recording rules are sound\n")


def test_a_mistake_is_named_with_its_place_and_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yml"
    path.write_text((RULES / "pipeline.yml").read_text().replace("k2_sequence_gaps_total", "k2_gaps_total"))
    done = k2(tmp_path, "alerts", "validate", str(path), "--root", str(ROOT))
    assert done.returncode == 1
    where, remedy = done.stdout.splitlines()
    line = path.read_text().splitlines().index("      - alert: SequenceGapsDetected") + 2
    assert where == f"{path}:{line}: expression-metric: nobody exports k2_gaps_total"
    assert remedy.startswith("  remedy: docs/metrics.md")
    assert done.stderr == "k2: 1 findings in the alert rules: see the remedy below each\n"
    as_json = k2(tmp_path, "alerts", "validate", str(path), "--root", str(ROOT), "--json")
    finding, counts = map(json.loads, as_json.stdout.splitlines())
    assert (finding["line"], finding["kind"], counts["findings"]) == (line, "expression-metric", 1)


def test_one_look_shows_what_fires_and_says_so_by_its_exit_code(tmp_path: Path) -> None:
    with alerts_server() as server:
        nothing = k2(tmp_path, "alerts", "watch", "--once", "--url", server.url)
        assert (nothing.returncode, nothing.stdout) == (0, "no alert is pending or firing\n")
        server.alerts = [entry("APIDown", "critical"), entry("QueryP99High", "medium", "query", state="pending")]
        arguments = ("alerts", "watch", "--once", "--url", server.url)
        firing = k2(tmp_path, *arguments)
        assert firing.returncode == 1
        assert [line.split()[1:] for line in firing.stdout.splitlines()] == [
            ["firing", "critical", "api", "APIDown:", "APIDown", "it", "is"],
            ["pending", "medium", "query", "QueryP99High:", "QueryP99High", "it", "is"],
        ]
        pending = k2(tmp_path, *arguments, "--component", "query", "--json")
        assert pending.returncode == 0
        assert json.loads(pending.stdout)["name"] == "QueryP99High"


def test_watching_tells_what_changes_until_it_is_interrupted(tmp_path: Path) -> None:
    with alerts_server() as server:
        command = [sys.executable, "-m", "k2.cli", "--data-dir", str(tmp_path), "alerts", "watch"]
        watching = subprocess.Popen(
            [*command, "--url", server.url, "--every", "0.1", "--severity", "critical", "--json"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watching.stdout is not None
        server.alerts = [entry("APIDown", "critical", state="pending"), entry("QueryP99High", "medium")]
        assert json.loads(watching.stdout.readline())["state"] == "pending"
        server.alerts = [entry("APIDown", "critical")]
        assert json.loads(watching.stdout.readline())["state"] == "firing"
        asked = server.questions
        until = time.monotonic() + PATIENCE_SECONDS
        while server.questions < asked + 2 and time.monotonic() < until:
            time.sleep(0.05)
        server.alerts = []
        resolved = json.loads(watching.stdout.readline())
        assert (resolved["name"], resolved["state"]) == ("APIDown", "resolved")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE_SECONDS) == 0
        assert watching.stdout.read() == ""
        watching.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "problem"),
    [
        (("watch", "--url", "http://127.0.0.1:9"), 69, "Prometheus does not answer at http://127.0.0.1:9"),
        (("watch", "--severity", "loud"), 64, "--severity is critical, high or medium"),
        (("validate", "/nowhere"), 64, "/nowhere holds no rule files"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, problem: str
) -> None:
    done = k2(tmp_path, "alerts", *arguments)
    assert done.returncode == exit_code
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"k2: {problem}")
