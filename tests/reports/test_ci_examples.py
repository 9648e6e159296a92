"""The examples for pipelines: sound by the tools that know such files, and every command in them exists."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reports.crafted_run import ROOT
from tests.reports.reports_command import command

EXAMPLES = ROOT / "docs" / "examples" / "ci"
WORKFLOW = EXAMPLES / "github" / "workflows" / "readiness.yml"
GITLAB = EXAMPLES / "gitlab-ci.yml"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
ZIZMOR = "zizmor==1.32.0"
FETCH_SECONDS = 90
REPORTS = re.compile(r"python -m reports (\w+)((?: --?[\w-]+)*)")


def run(*arguments: str | Path, timeout: float = FETCH_SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )


def tool(*choices: tuple[str, ...]) -> tuple[str, ...]:
    """The first of several ways to run a tool that works here; skips the test where none does."""
    for choice in choices:
        if shutil.which(choice[0]) or Path(choice[0]).exists():
            try:
                if run(*choice, "--version").returncode == 0:
                    return choice
            except (subprocess.TimeoutExpired, OSError):
                continue
    pytest.skip(f"{choices[0][0]} is not here and could not be fetched")


@functools.cache
def help_of(name: str) -> str:
    """What a command of `python -m reports` says of itself."""
    told = command(name, "--help")
    assert told.returncode == 0, told.stderr
    return told.stdout


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.timeout(300)
def test_actionlint_finds_nothing_in_the_workflow_and_a_planted_mistake(tmp_path: Path) -> None:
    actionlint = tool(("actionlint",), ("go", "run", ACTIONLINT))
    result = run(*actionlint, WORKFLOW)
    assert (result.returncode, result.stdout) == (0, "")
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOW.read_text().replace("runs-on:", "run-on:"))
    assert run(*actionlint, broken).returncode == 1


@pytest.mark.timeout(300)
def test_zizmor_finds_nothing_in_the_workflow_and_a_planted_mistake(tmp_path: Path) -> None:
    zizmor = tool(("zizmor",), (str(ROOT / "scripts" / "uv.sh"), "tool", "run", ZIZMOR))
    result = run(*zizmor, "--offline", "--no-progress", WORKFLOW)
    assert result.returncode == 0, result.stdout + result.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOW.read_text().replace("persist-credentials: false", "fetch-depth: 1"))
    assert run(*zizmor, "--offline", "--no-progress", broken).returncode != 0


def test_every_action_is_pinned_to_a_commit() -> None:
    steps = loaded(WORKFLOW)["jobs"]["gate"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in used)


@pytest.mark.parametrize("example", [WORKFLOW, GITLAB], ids=["github", "gitlab"])
def test_every_command_of_an_example_exists_with_its_options(example: Path) -> None:
    found = REPORTS.findall(example.read_text(encoding="utf-8"))
    names = {name for name, _ in found}
    assert {"verify", "gate", "card", "allure"} <= names
    for name, options in set(found):
        assert all(option in help_of(name) for option in options.split())


def test_gitlab_publishes_evidence_and_junit_whatever_the_gate_says() -> None:
    job = loaded(GITLAB)["readiness"]
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == "reports/runs/ci/card.junit.xml"
    assert any("reports gate ci" in line for line in job["script"])
    assert any("reports card ci" in line for line in job["after_script"])


def test_github_publishes_whatever_the_gate_says() -> None:
    steps = loaded(WORKFLOW)["jobs"]["gate"]["steps"]
    after_the_gate = steps[next(n for n, step in enumerate(steps) if "reports gate" in step.get("run", "")) + 1 :]
    assert len(after_the_gate) == 3
    assert all(step["if"] == "${{ !cancelled() }}" for step in after_the_gate)
