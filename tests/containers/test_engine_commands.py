"""What a person is told where there is no engine, or a wrong name was typed: one line, and the documented exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY_LISTENS = "tcp://127.0.0.1:1"


def conformance(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "line"),
    [
        (["images"], {"K2_ENGINE": "none"}, 69, "K2_ENGINE=none forbids a container engine: unset it to use one"),
        (["images", "--list"], {"K2_ENGINE": "none"}, 69, "K2_ENGINE=none forbids a container engine; "),
        (["engine", "--start"], {"DOCKER_HOST": NOBODY_LISTENS}, 69, f"no engine answers at {NOBODY_LISTENS}: "),
        (["engine"], {"K2_ENGINE": "podman"}, 64, "K2_ENGINE=podman: choose auto or none"),
        (
            ["readiness", "--stack", "containers"],
            {"K2_ENGINE": "none"},
            69,
            "K2_ENGINE=none forbids a container engine: ",
        ),
        (
            ["run", "--stack", "containers"],
            {"DOCKER_HOST": NOBODY_LISTENS},
            69,
            f"no engine answers at {NOBODY_LISTENS}",
        ),
        (["run", "--stack", "external"], {}, 64, "--addresses FILE is for --stack external, which needs it"),
        (["images", "--only", "minio"], {}, 64, "no image called minio; there are alertmanager, k2, kafka, "),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], environment: dict[str, str], status: int, line: str
) -> None:
    result = conformance(*arguments, **environment)
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith(f"conformance: {line}")
    assert result.stderr.count("\n") == 1


def test_without_an_engine_it_is_said_what_would_be_done() -> None:
    result = conformance("engine", K2_ENGINE="none")
    assert result.returncode == 69
    assert result.stdout.splitlines() == [
        "engine: K2_ENGINE=none forbids a container engine",
        "engine: nothing can be done here: start Docker 20.10 or newer, or name its address with DOCKER_HOST",
    ]


def test_machines_are_told_the_same_as_json() -> None:
    result = conformance("engine", "--json", DOCKER_HOST=NOBODY_LISTENS)
    answer = json.loads(result.stdout)
    assert (result.returncode, answer["engine"], answer["would"]) == (69, None, "nothing")
    assert answer["reason"].endswith("Connection refused")
