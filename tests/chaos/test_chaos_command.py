"""The command line: what it lists, writes and refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.schedule import read_schedule

ROOT = Path(__file__).resolve().parents[2]


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_a_schedule_that_is_written_can_be_read(tmp_path: Path) -> None:
    written = chaos("schedule", "--seed", "7", "--only", "redis")
    assert written.returncode == 0, written.stderr
    path = tmp_path / "seven.json"
    path.write_text(written.stdout)
    schedule = read_schedule(path)
    assert schedule.seed == 7
    assert schedule.scenarios[:2] == ("baseline", "redis_latency")


def test_scenarios_are_listed_with_what_must_go_on() -> None:
    listed = chaos("list", "--only", "postgres_down")
    assert listed.returncode == 0
    lines = [line.split()[:5] for line in listed.stdout.splitlines()]
    assert lines == [
        ["smoke", "embedded+containers", "all", "HAR-3c", "baseline"],
        ["smoke", "containers", "some", "HAR-3a,RES-1b", "postgres_down"],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--profile", "weekly"), "--profile 'weekly' is not known: choose smoke, standard, soak"),
        (("run", "--stack", "external"), "--stack 'external' is not known: choose containers or embedded"),
        (("run", "--only", "nonsense"), "no scenario is called nonsense or cites it"),
        (("run", "--replay", "nowhere.json"), "nowhere.json cannot be read: No such file or directory"),
        (("run", "-n", "0"), "should be greater than or equal to 1"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_64(arguments: tuple[str, ...], said: str) -> None:
    answer = chaos(*arguments)
    assert answer.returncode == 64
    assert said in answer.stderr
    assert answer.stderr.startswith("chaos: ")
    assert "Traceback" not in answer.stderr
