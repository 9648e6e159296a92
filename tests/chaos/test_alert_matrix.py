"""The table of faults and alerts speaks of every alert there is to be fired, and its report says what happened."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chaos.alerts.matrix import GROUPS, LEAST_REAL, chosen_groups, named_alerts
from chaos.alerts.report import markdown, matrix, write_report
from conformance.checkers.alert_measures import exercises
from conformance.planted.alert_matrix import SUITE, clean_matrix
from k2.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_every_named_alert_is_fired_by_a_fault() -> None:
    fired = {alert for group in GROUPS for entry in group.entries for alert in entry.fires}
    assert fired == set(named_alerts())
    assert len(fired) == 21 >= LEAST_REAL


def test_an_alert_that_silences_another_is_not_fired_beside_it() -> None:
    for group in GROUPS:
        fires = {alert for entry in group.entries for alert in entry.fires}
        assert not ("APIDown" in fires and fires & {"APIErrorRateHigh", "APILatencyHigh"}), group.name


def test_faults_of_a_group_are_of_different_things() -> None:
    for group in GROUPS:
        assert not [target for target, times in Counter(one.target for one in group.entries).items() if times > 1]


def test_a_choice_keeps_the_faults_that_fire_an_alert() -> None:
    (group,) = chosen_groups("KafkaBrokerDown")
    assert [(one.fault, one.target) for one in group.entries] == [("kill", "kafka-2")]
    assert {one.target for group in chosen_groups("APIErrorRateHigh") for one in group.entries} == {
        "catalog",
        "postgres",
    }
    with pytest.raises(UsageError, match="no fault and no alert of the matrix is called Nonsense"):
        chosen_groups("Nonsense")


def test_the_command_lists_the_matrix_and_refuses_what_is_not_in_it() -> None:
    listed = chaos("alerts", "--list", "--only", "KafkaBrokerDown")
    assert (listed.returncode, listed.stdout.split()) == (0, ["kill", "kafka-2", "KafkaBrokerDown"])
    refused = chaos("alerts", "--only", "Nonsense")
    assert refused.returncode == 64
    assert refused.stderr.startswith("chaos: no fault and no alert of the matrix is called Nonsense")


def test_the_report_has_a_row_for_each_alert_and_fault(tmp_path: Path) -> None:
    history = clean_matrix(1)
    document = matrix(history)
    assert [one["alert"] for one in document["exercises"]] == [one.alert for one in exercises(history)]
    assert document["consequences"] == {"110": ["APIErrorRateHigh"], "180": []}
    assert document["control"] == {"seconds": 90.0, "from": [10.0], "fired": []}
    assert document["never_exercised"] == []
    path = write_report(history, tmp_path)
    assert json.loads(path.with_suffix(".json").read_text()) == document
    assert "| DiskSpaceLow | pretended on disk | yes |" in path.read_text()
    drawn = path.with_suffix(".svg").read_text()
    assert all(text in drawn for text in ("control window", "kill on kafka-2", "PostgreSQLDown"))


def test_the_report_says_what_was_not_heard_and_what_was_not_silent() -> None:
    plants = {defect.name: defect.plant for defect in SUITE.defects}
    deaf = markdown(matrix(plants["alert_made_deaf"](clean_matrix(1))))
    assert "| KafkaBrokerDown | kill on kafka-2 | no | **not heard** | **not seen** | **not resolved** |" in deaf
    assert "**not resolved**" in markdown(matrix(plants["alert_that_stays"](clean_matrix(1))))
    assert "**NoDataIngested fired**" in markdown(matrix(plants["noise_without_fault"](clean_matrix(1))))
    assert "| HighMemoryUsage | never exercised |" in markdown(
        matrix(plants["alert_nobody_exercised"](clean_matrix(1)))
    )
