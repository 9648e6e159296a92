"""Figures of a benchmark: in turn, with their goals, and kept with what they were measured on."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import Measurement, Ratio, Report, Sample, exponent, interleaved


def test_tasks_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def task(name: str) -> Sample:
        order.append(name)
        return Sample(float(len(order)), 0.0)

    samples = interleaved({"a": lambda: task("a"), "b": lambda: task("b")}, 2)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert [one.seconds for one in samples["a"]] == [3.0, 5.0]


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    ratio = Ratio.of("a / b", Measurement("a", "s", (2.0, 9.0, 8.0)), Measurement("b", "s", (1.0, 1.0, 2.0)))
    assert (ratio.value, ratio.worst, ratio.best) == (4.0, 2.0, 9.0)
    assert ratio.is_met is None


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [({"at_least": 4.0}, True), ({"at_least": 4.1}, False), ({"at_most": 4.0}, True), ({"at_most": 3.9}, False)],
)
def test_a_goal_is_met_or_missed(goal: dict[str, float], is_met: bool) -> None:
    assert Ratio("a / b", 4.0, **goal).is_met is is_met


def test_a_report_keeps_figures_machine_and_what_was_missed(tmp_path: Path) -> None:
    report = Report("one", "a title", {"rows": 3}, missing={"Spark": "no Java"})
    report.measurements.append(Measurement("K2", "s", (3.0, 1.0, 2.0)))
    report.ratios.append(Ratio("K2 / other", 0.5, at_least=1.0))
    kept = json.loads(report.write(tmp_path / "one.json").read_text())
    assert kept["measurements"][0] | {"values": None} == {
        "name": "K2",
        "unit": "s",
        "repetitions": 3,
        "min": 1.0,
        "median": 2.0,
        "max": 3.0,
        "values": None,
    }
    assert kept["ratios"][0]["is_met"] is False
    assert kept["machine"]["cores"] >= 1
    assert kept["missing"] == {"Spark": "no Java"}
    assert {"before", "after"} == set(kept["load"])
    assert "K2" in (tmp_path / "one.svg").read_text()


def test_exponents_tell_flat_from_linear() -> None:
    assert exponent([1, 10, 100], [5, 5, 5]) == pytest.approx(0)
    assert exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1)
