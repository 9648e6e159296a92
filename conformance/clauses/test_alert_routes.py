"""Who is told of an alert, by Alertmanager's own reading of its configuration.

Critical alerts MUST page at any hour, all others MUST wait for business hours (OBS-2).
"""

import shutil
from pathlib import Path

import pytest
import yaml

from conformance.clause import ClauseRun
from conformance.drivers import alert_rules
from conformance.drivers.alert_rules import ALERTMANAGER, ALERTMANAGER_FILE, tool
from conformance.drivers.facts import record_fact
from conformance.promtool import AMTOOL, Amtool

BUSINESS_HOURS, PAGER = "business-hours", "pager"


@pytest.mark.clause(
    name="alert_routes",
    claims=("OBS-2b",),
    checker="facts",
    title="Critical alerts page at any hour, all others go to business hours, by amtool",
    minimum_samples=31,
    remedy="see deploy/alertmanager/alertmanager.yml",
)
def test_critical_alerts_page_and_all_others_wait_for_business_hours(clause: ClauseRun, tmp_path: Path) -> None:
    amtool = Amtool(tool(AMTOOL))
    alerts = [rule for rule in alert_rules.read_rule_texts() if rule.is_alert]
    folder = tmp_path / "alertmanager"
    shutil.copytree(ALERTMANAGER, folder)
    with clause.history() as history:
        record_fact(
            history, "problems", [], lambda: [one.text for one in amtool.check_config(ALERTMANAGER_FILE, folder)]
        )
        for alert in alerts:
            told = PAGER if alert.fields["labels"]["severity"] == "critical" else BUSINESS_HOURS
            labels = {"alertname": alert.name, **alert.fields["labels"]}
            receivers = [told]
            record_fact(
                history,
                alert.name,
                receivers,
                lambda labels=labels: list(amtool.receivers(ALERTMANAGER_FILE, labels, folder)),
            )
        record_fact(history, "receivers with hours", [BUSINESS_HOURS], receivers_with_hours, folder / ALERTMANAGER_FILE)
        swapped = folder / ALERTMANAGER_FILE
        swapped.write_text(swapped.read_text().replace('severity="critical"', 'severity="high"', 1))
        told_wrongly = {"severity": "critical"}
        record_fact(history, "a route that is planted wrong is seen", [BUSINESS_HOURS],
                    lambda: list(amtool.receivers(ALERTMANAGER_FILE, told_wrongly, folder)))  # fmt: skip
    clause.judge()


def receivers_with_hours(path: Path) -> list[str]:
    """Receivers that are told within hours only."""
    routes = yaml.safe_load(path.read_text())["route"]["routes"]
    return [route["receiver"] for route in routes if route.get("active_time_intervals")]
