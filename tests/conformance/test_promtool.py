"""The wrapper of promtool and amtool: where they are found, and their findings as data."""

import os
from pathlib import Path

import pytest

from conformance.promtool import AMTOOL, PROMTOOL, Amtool, NoTool, Promtool, Tool, ToolError, find_tool
from conformance.promtool import _failures as failures
from conformance.promtool import _problems as problems

RULES = """groups:
  - name: a
    interval: 30s
    rules:
      - alert: Up
        expr: up == 1
        for: 1m
"""
TESTS = """rule_files: [rules.yml]
evaluation_interval: 30s
tests:
  - interval: 1m
    input_series: [{series: up, values: 1x5}]
    promql_expr_test:
      - expr: 'count(ALERTS{alertname="Up",alertstate="firing"})'
        eval_time: 3m
        exp_samples: [{labels: '{}', value: 1}]
"""


def tool(name: str) -> Tool:
    found = find_tool(name)
    if isinstance(found, NoTool):
        pytest.skip(found.reason)
    return found


@pytest.fixture
def promtool() -> Promtool:
    return Promtool(tool(PROMTOOL))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def test_a_tool_that_is_named_is_taken_and_one_that_is_no_program_is_not(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = find_tool(PROMTOOL, {"K2_PROMTOOL": str(program), "PATH": ""})
    assert found == Tool((str(program),), f"K2_PROMTOOL={program}")
    missing = find_tool(PROMTOOL, {"K2_PROMTOOL": "/nowhere", "PATH": os.environ["PATH"]})
    assert missing == NoTool("K2_PROMTOOL=/nowhere is no program")


def test_where_there_is_none_the_reason_says_what_to_do() -> None:
    found = find_tool(AMTOOL, {"PATH": "/nowhere"})
    assert isinstance(found, NoTool)
    assert "K2_AMTOOL" in found.reason


def test_the_image_of_the_server_is_taken_unless_no_engine_may_be_used(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho other/prometheus:1; echo k2/prometheus:abc\n")
    docker.chmod(0o755)
    environment = {"PATH": str(tmp_path)}
    found = find_tool(PROMTOOL, environment)
    assert found == Tool((str(docker), PROMTOOL), "the image k2/prometheus:abc", "k2/prometheus:abc")
    assert isinstance(find_tool(PROMTOOL, {**environment, "K2_ENGINE": "none"}), NoTool)


def test_in_an_image_it_sees_its_folder_alone(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$@"\n')
    docker.chmod(0o755)
    status, output = Tool((str(docker), PROMTOOL), "an image", "k2/prometheus:abc").run(
        ["check", "rules", "x"], tmp_path
    )
    assert status == 0
    assert output.split() == [
        *("run", "--rm", "--network", "none", "--volume", f"{tmp_path}:{tmp_path}:ro", "--workdir", str(tmp_path)),
        *(
            "--user",
            f"{os.getuid()}:{os.getgid()}",
            "--entrypoint",
            PROMTOOL,
            "k2/prometheus:abc",
            "check",
            "rules",
            "x",
        ),
    ]


def test_rules_and_tests_that_are_right_leave_nothing(promtool: Promtool, tmp_path: Path) -> None:
    folder = write(tmp_path, rules=RULES, tests=TESTS)
    assert promtool.check_rules([Path("rules.yml")], folder) == ()
    assert promtool.test_rules([Path("tests.yml")], folder).passed


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("up == 1", "sum(up", 6, "could not parse expression"),
        ("for: 1m", "until: 1m", 7, "field until not found"),
        ("groups:", "groups: [", None, "did not find expected"),
        ("for: 1m", 'labels: {a: "{{ .X"}', 0, "unclosed action"),
    ],
)
def test_what_is_wrong_with_rules_has_a_place(
    promtool: Promtool, tmp_path: Path, old: str, new: str, line: int | None, text: str
) -> None:
    (problem, *_) = promtool.check_rules([Path("rules.yml")], write(tmp_path, rules=RULES.replace(old, new)))
    assert problem.path == "rules.yml"
    assert text in problem.text
    assert problem.line == line if line is not None else problem.line > 0


def test_an_expectation_that_does_not_hold_names_its_alert(promtool: Promtool, tmp_path: Path) -> None:
    folder = write(tmp_path, rules=RULES.replace("== 1", "== 2"), tests=TESTS)
    outcome = promtool.test_rules([Path("tests.yml")], folder)
    (failure,) = outcome.failures
    assert (failure.alerts, failure.at, outcome.problems) == (("Up",), "3m", ())
    assert not outcome.passed


def test_tests_of_rules_that_are_not_there_do_not_pass(promtool: Promtool, tmp_path: Path) -> None:
    silent = TESTS.replace("[{labels: '{}', value: 1}]", "[]")
    outcome = promtool.test_rules([Path("tests.yml")], write(tmp_path, tests=silent))
    assert "rules.yml" in outcome.problems[0].text
    assert not outcome.passed


def test_a_configuration_is_checked_with_its_rules(promtool: Promtool, tmp_path: Path) -> None:
    folder = write(tmp_path, rules=RULES, prometheus="rule_files: [rules.yml]\nscrape_configs: []\n")
    assert promtool.check_config(Path("prometheus.yml"), folder) == ()
    write(folder, prometheus="scrape_configs:\n  - job_name: x\n    static_config: []\n")
    assert promtool.check_config(Path("prometheus.yml"), folder)[0].line == 3


def test_amtool_says_who_is_told(tmp_path: Path) -> None:
    amtool = Amtool(tool(AMTOOL))
    routes = """route:
  receiver: all
  routes: [{receiver: pager, matchers: ['severity="critical"']}]
receivers: [{name: all}, {name: pager}]
"""
    folder = write(tmp_path, alertmanager=routes)
    path = Path("alertmanager.yml")
    assert amtool.check_config(path, folder) == ()
    assert amtool.receivers(path, {"severity": "critical"}, folder) == ("pager",)
    assert amtool.receivers(path, {"severity": "high"}, folder) == ("all",)
    write(folder, alertmanager=routes.replace("{name: pager}", "{name: page}"))
    assert "pager" in amtool.check_config(path, folder)[0].text


def test_a_tool_that_does_not_start_or_says_nothing_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="does not run"):
        Tool((str(tmp_path / "gone"),), "nowhere").run(["x"], tmp_path)
    with pytest.raises(ToolError, match="cannot be read"):
        problems("Segmentation fault\n")


def test_failures_of_alert_expectations_are_read_too() -> None:
    output = "  FAILED:\n    alertname: Up, time: 5m, \n        exp:[\n            ]\n        got:[\n            0:x\n"
    (failure,) = failures(output)
    assert (failure.alerts, failure.expression, failure.at) == (("Up",), "", "5m")
    newer = "  FAILED:\n    name: a test,\n    alertname: Up, time: 5m, \n        exp:[\n            ]\n"
    assert [one.alerts for one in failures(newer)] == [("Up",)]
