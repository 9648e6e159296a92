"""`k2 alerts`: are the alert rules sound, and which alerts are there now."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2.commands.context import FOUND_EXIT_CODE, AsJson, stop_on_signals
from k2.errors import K2Error, UnavailableError, UsageError
from k2.observability.alerts.severities import SEVERITIES

if TYPE_CHECKING:
    from k2.observability.alerts.live import LiveAlert

app = typer.Typer(no_args_is_help=True, help="Alert rules, and the alerts there are now.")
RULES = Path("deploy/prometheus/rules")
_LOOK_SECONDS = 0.2


@app.command("validate")
def validate(
    path: Annotated[Path, typer.Argument(help="A rule file, or a folder of them.")] = RULES,
    root: Annotated[
        Path | None, typer.Option(help="Where runbooks are looked for; default: the nearest folder with docs/runbooks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge alert rules against the metrics K2 exports; exit code 1 where something is wrong.

    `promtool check rules` judges their grammar.

    Example: k2 alerts validate deploy/prometheus/rules
    """
    from k2.observability.alerts.rule_files import rule_paths
    from k2.observability.alerts.validation import validate as judge

    rules, findings = judge(rule_paths(path), root or _project_root(path))
    for finding in findings:
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
        else:
            typer.echo(f"{finding.path}:{finding.line}: {finding.kind}: {finding.problem}")
            typer.echo(f"  remedy: {finding.remedy}")
    alerts = sum(1 for rule in rules if rule.alert)
    counts = {"alerts": alerts, "recording_rules": len(rules) - alerts, "findings": len(findings)}
    if as_json:
        typer.echo(json.dumps(counts))
    if findings:
        raise K2Error(f"{len(findings)} findings in the alert rules: see the remedy below each")
    if not as_json:
        typer.echo(f"{alerts} alerts and {len(rules) - alerts} recording rules are sound")


@app.command("watch")
def watch(
    url: Annotated[str, typer.Option(help="Address of Prometheus.")] = "http://127.0.0.1:9090",
    severity: Annotated[str | None, typer.Option(help="Only these: critical, high or medium.")] = None,
    component: Annotated[str | None, typer.Option(help="Only those about this component, such as api.")] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 15.0,
    once: Annotated[bool, typer.Option("--once", help="Look once; exit code 1 if an alert is firing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the alerts that are pending or firing, and what changes, until Ctrl-C.

    Example: k2 alerts watch --severity critical, or in a script: k2 alerts watch --once --json
    """
    from k2.observability.alerts.live import AlertFilter, live_alerts

    if severity is not None and severity not in SEVERITIES:
        raise UsageError(f"--severity is {', '.join(SEVERITIES[:-1])} or {SEVERITIES[-1]}, not {severity!r:.40}")
    wanted = AlertFilter(severity, component)
    if once:
        found = live_alerts(url, wanted)
        for alert in found:
            _print(alert, alert.state, as_json)
        if not found and not as_json:
            typer.echo("no alert is pending or firing")
        raise typer.Exit(FOUND_EXIT_CODE if any(alert.state == "firing" for alert in found) else 0)
    stopping = stop_on_signals()
    shown: dict[str, LiveAlert] | None = None
    while not stopping():
        try:
            now = {_key(alert): alert for alert in live_alerts(url, wanted)}
        except UnavailableError as error:
            if shown is None:
                raise
            # It may only be starting again; whoever watches stays and is told.
            typer.echo(f"k2: {error}", err=True)
        else:
            _print_changes(shown, now, as_json)
            shown = now
        _wait(every, stopping)


def _print_changes(before: "dict[str, LiveAlert] | None", now: "dict[str, LiveAlert]", as_json: bool) -> None:
    if before is None and not now and not as_json:
        typer.echo("no alert is pending or firing")
    for key, alert in now.items():
        known = (before or {}).get(key)
        if known is None or known.state != alert.state:
            _print(alert, alert.state, as_json)
    for key, alert in (before or {}).items():
        if key not in now:
            _print(alert, "resolved", as_json)


def _print(alert: "LiveAlert", state: str, as_json: bool) -> None:
    seen_at = datetime.now(UTC).isoformat(timespec="seconds")
    if as_json:
        typer.echo(json.dumps({"seen_at": seen_at, **asdict(alert), "state": state}))
        return
    about = f"{alert.severity or '-':<9}{alert.component or '-':<15}"
    typer.echo(f"{seen_at}  {state:<9}{about}{alert.name}: {' '.join(alert.summary.split())}")


def _key(alert: "LiveAlert") -> str:
    return json.dumps(dict(alert.labels), sort_keys=True)


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not stopping() and (left := until - time.monotonic()) > 0:
        time.sleep(min(_LOOK_SECONDS, left))


def _project_root(path: Path) -> Path | None:
    folders = (path.absolute(), *path.absolute().parents)
    return next((folder for folder in folders if (folder / "docs" / "runbooks").is_dir()), None)
