"""Pictures show what the queries brought, under the panels' titles."""

import json
import re
from pathlib import Path

import pytest

from conformance.dashboard_lint import queries
from scripts.picture_panels import DASHBOARDS, PICTURES, main, picture, read_answers

UID = "k2-consumer-monitoring"
DASHBOARD = json.loads((DASHBOARDS / f"{UID}.json").read_text())
BEGIN = 1_795_300_000


def answers(path: Path) -> Path:
    lines = []
    for query in queries(DASHBOARD):
        labels = {"data_type": "trades", "le": "100", "instance": "one", "stage": "decode", "reason": "Odd"}
        values = [[BEGIN + 15 * number, str(number / 7)] for number in range(20)]
        shown = {"value": [BEGIN, "1234.5678"]} if query.is_instant else {"values": values}
        series = {"metric": labels, **shown}
        fallback = {"metric": {}, "values": [[BEGIN, "0"]]}
        result = [series] if query.is_instant else [fallback, series]
        lines.append({"dashboard": query.dashboard, "panel": query.panel, "legend": query.legend, "result": result})
    path.write_text(json.dumps(lines))
    return path


def test_each_panel_is_drawn_with_its_series(tmp_path: Path) -> None:
    svg = picture(DASHBOARD, read_answers(answers(tmp_path / "answers.json")))
    assert svg.startswith("<svg")
    for text in (DASHBOARD["title"], *(panel["title"] for panel in DASHBOARD["panels"])):
        assert f">{text}</text>" in svg
    assert ">resident one</text>" in svg
    assert ">repeated: Odd</text>" in svg
    # The zero that stands for an empty answer is no series of its own where there is another.
    assert ">repeated:</text>" not in svg
    assert ">1,230</text>" in svg
    assert re.search(r' d="[^"]*\d\.\d\d', svg) is None


def test_a_panel_without_an_answer_stays_empty() -> None:
    assert f">{DASHBOARD['panels'][0]['title']}</text>" in picture(DASHBOARD, {})


def test_every_dashboard_has_its_picture() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} == {path.stem for path in DASHBOARDS.glob("*.json")}


@pytest.mark.parametrize("text", ["", '{"a": 1}', '[{"panel": "x"}]', "[1]"])
def test_what_holds_no_answers_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(text)
    assert main([str(path), str(tmp_path / "pictures")]) == 64
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main([]) == main([str(tmp_path / "none.json")]) == 64
