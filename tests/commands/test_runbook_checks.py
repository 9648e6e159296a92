"""Each mistake in a runbook is found at its line; the runbooks of this repository have none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from k2.cli import app
from k2.commands.runbooks.checks import Finding, check_all, check_page
from k2.commands.runbooks.command import command_line
from k2.commands.runbooks.deployment import Deployment, read_deployment
from k2.commands.runbooks.pages import parse_runbook, read_runbook
from k2.commands.runbooks.programs import IMAGE_PROGRAMS, image_of

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
WHOLE = (RUNBOOKS / "postgresql-down.md").read_text()
JUDGE = command_line(typer.main.get_command(app))


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return read_deployment(ROOT, RUNBOOKS)


@pytest.fixture
def found(deployment: Deployment) -> Callable[[str], list[Finding]]:
    """Checks a page by its text, as if it lay among the others."""
    return lambda text: list(check_page(parse_runbook(RUNBOOKS / "postgresql-down.md", text), deployment, JUDGE))


def test_the_runbooks_of_this_repository_have_no_mistake(deployment: Deployment) -> None:
    pages = [read_runbook(path) for path in sorted(RUNBOOKS.glob("*.md"))]
    assert len(pages) > len(deployment.alerts) / 2 > 10
    assert check_all(pages, deployment, JUDGE) == []


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("compose ps postgres", "compose ps postgress", "has no service 'postgress'"),
        ("healthy postgres", "healthy postgress", "has no service 'postgress'"),
        ("compose ps postgres", "compose show postgres", "no command 'show'"),
        ("compose ps postgres", "pg_ctl status", "no program 'pg_ctl'"),
        ("compose ps postgres", "compose exec -T postgres pg_ctl status", "image postgres has no program 'pg_ctl'"),
        ("compose ps postgres", "compose exec -T kafka-1 psql", "image kafka has no program 'psql'"),
        ("compose ps postgres", "compose exec -T api k2 audit verify --fix", "No such option: --fix"),
        ("compose ps postgres", "ask 'k2_circuit_braker_state'", "no metric is called k2_circuit_braker_state"),
        ("compose ps postgres", "ask 'sum by (name) (k2_circuit_breaker_state)'", "has no label 'name'"),
        ("compose ps postgres", "ask 'sum(k2_circuit_breaker_state'", "not closed"),
        ("compose ps postgres", "ls $FOLDER", "$FOLDER is set by nobody"),
        ("compose ps postgres", "ls $(pwd)", "not read: a command inside a command"),
        ("k2 query snapshots", "k2 query snapshot", "no command 'snapshot'"),
        ("k2 query snapshots", "k2 query snapshots --tables", "No such option: --tables"),
        ("k2 query snapshots", "k2 dlq", "a command is missing after dlq"),
        ("k2 query snapshots", "k2 query trades --limit none", "a valid integer"),
        ("k2 query snapshots", "k2 dlq show market.crypto.trades 0", "Missing argument"),
        ("k2 query snapshots", "k2 --data-directory x query symbols", "no such option: --data-directory"),
        ("](disaster-recovery.md#resolution)", "](disaster-recovery.md#cure)", "has no heading 'cure'"),
        ("](schema-registry-down.md)", "](schema-registry.md)", "which is not there"),
        ("`k2_dependency_up{dependency=", "`k2_dependency_up{server=", "no label 'server'"),
        ("`k2_dependency_up{dependency=", "`k2_dependency_is_up{dependency=", "called k2_dependency_is_up"),
        ("## Prevention", "## Avoidance", "a part 'Avoidance'"),
        ("**critical**, pages.", "It pages.", "severity is not said first"),
        ("```bash runbook=diagnosis needs=deployment\ncompose", "```bash\ncompose", "not marked with runbook="),
    ],
)  # fmt: skip
def test_a_mistake_is_found_at_its_line(
    found: Callable[[str], list[Finding]], before: str, after: str, what: str
) -> None:
    assert found(WHOLE) == []
    text = WHOLE.replace(before, after, 1)
    assert text != WHOLE
    assert [finding for finding in found(text) if what in finding.what], found(text)
    places = {finding.line for finding in found(text) if what in finding.what}
    assert places & {line_of(text, line) for line in after.splitlines()} or "severity" in what


@pytest.mark.parametrize("part", ["Symptoms", "Related Monitoring"])
def test_a_missing_part_is_found(found: Callable[[str], list[Finding]], part: str) -> None:
    head, _, rest = WHOLE.partition(f"## {part}\n")
    following = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    assert [finding.what for finding in found(head + following)] == [f"no part {part!r}"]


def test_parts_out_of_order_twice_or_empty_are_found(found: Callable[[str], list[Finding]]) -> None:
    swapped = (
        WHOLE.replace("## Symptoms", "## X").replace("## Diagnosis", "## Symptoms").replace("## X", "## Diagnosis")
    )
    assert any("the parts stand as" in finding.what for finding in found(swapped))
    assert any("more than once" in finding.what for finding in found(WHOLE + "\n## Prevention\n\nMore.\n"))
    assert any(
        "'Resolution' is empty" in f.what for f in found("# A\n## Severity\n**high**\n## Resolution\n## Prevention\n")
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["dlq", "show", "$TOPIC", "$PARTITION", "$OFFSET"], None),
        (["rollback", "--data-type", "trades", "--to", "$SNAPSHOT"], None),
        (["query", "--time-limit", "300", "trades", "--symbol", "$SYMBOL"], None),
        (["query", "--sql", "SELECT 1"], None),
        (["--data-dir", "x", "query", "gaps"], None),
        (["rollbck"], "no command 'rollbck'"),
        ([], "a command is missing"),
    ],
)
def test_arguments_are_judged_by_the_commands_own_tree(words: list[str], problem: str | None) -> None:
    said = JUDGE(words)
    assert said is None if problem is None else said is not None and problem in said


def write_rules(root: Path, rules: str) -> None:
    (root / "deploy" / "prometheus" / "rules").mkdir(parents=True)
    (root / "deploy" / "prometheus" / "rules" / "a.yml").write_text(f"groups:\n  - name: a\n    rules:\n{rules}")
    (root / "deploy" / "compose.yaml").write_text("x: 1\nservices:\n  api:\n    image: y\n")


RULE = """      - alert: APIDown
        expr: up == 0
        labels: {{severity: {severity}, team: sre}}
        annotations:
          runbook: docs/runbooks/{page}
"""
SLOW = RULE.format(severity="high", page="api-down.md").replace("APIDown", "APISlow")


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (RULE.format(severity="critical", page="api-down.md"), []),
        (RULE.format(severity="high", page="api-down.md"), ["the severity is critical, of the alert high"]),
        (RULE.format(severity="critical", page="api.md"),
         ["APIDown leads to docs/runbooks/api.md, which is not there", "no alert leads here"]),
        ("      - {alert: APIDown, expr: up}\n", ["APIDown has no annotation runbook", "no alert leads here"]),
        (RULE.format(severity="critical", page="api-down.md") + SLOW, ["APISlow leads here and is not named"]),
    ],
)  # fmt: skip
def test_alerts_and_runbooks_must_lead_to_each_other(tmp_path: Path, rules: str, found: list[str]) -> None:
    write_rules(tmp_path, rules)
    page = read_runbook(RUNBOOKS / "api-down.md")
    deployment = read_deployment(tmp_path, RUNBOOKS)
    findings = check_all([page], deployment, JUDGE)
    assert sorted(
        f.what for f in findings if "alert" in f.what or "APIDown" in f.what or "APISlow" in f.what
    ) == sorted(found)


def test_every_image_has_its_programs_and_every_service_its_image(deployment: Deployment) -> None:
    assert {path.name for path in (ROOT / "deploy" / "images").iterdir() if path.is_dir()} - {"base"} == set(
        IMAGE_PROGRAMS
    )
    # Grafana is not built here, and nothing is executed in it.
    assert {service for service in deployment.services if image_of(service) is None} <= {"grafana"}


def test_a_recorded_series_has_the_labels_its_expression_leaves(deployment: Deployment) -> None:
    assert deployment.series["data_type:k2_consumer_lag_messages:sum"] == {"data_type"}
    assert deployment.series["k2:api_error_ratio:1h"] == frozenset()
    assert deployment.series["up"] == {"job", "instance"}
