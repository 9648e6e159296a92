"""The dashboards are those of their sources, and a change of either is noticed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "build_dashboards.py"
GRAFANA = ROOT / "deploy" / "grafana"


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], check=False, capture_output=True, text=True)


def test_the_dashboards_are_current() -> None:
    result = build("--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_changed_source_a_changed_and_a_forgotten_dashboard_are_noticed_and_mended(tmp_path: Path) -> None:
    grafana = tmp_path / "deploy" / "grafana"
    shutil.copytree(GRAFANA, grafana)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "dashboards.md", tmp_path / "docs")
    assert build("--check", str(tmp_path)).returncode == 0
    source = grafana / "source" / "k2-api-metrics.toml"
    source.write_text(source.read_text().replace('title = "Latency"', 'title = "How long"'))
    (grafana / "dashboards" / "k2-kafka-metrics.json").write_text("{}")
    (grafana / "dashboards" / "k2-gone.json").write_text("{}")
    result = build("--check", str(tmp_path))
    assert result.returncode == 1
    assert [Path(line.split(" is ")[0]).stem for line in result.stderr.splitlines()] == [
        "k2-api-metrics",
        "k2-kafka-metrics",
        "dashboards",
        "k2-gone",
    ]
    assert build(str(tmp_path)).returncode == 0
    assert build("--check", str(tmp_path)).returncode == 0
    assert "How long" in (grafana / "dashboards" / "k2-api-metrics.json").read_text()
    assert "How long" in (tmp_path / "docs" / "dashboards.md").read_text()


def test_panels_fill_rows_and_never_overlap() -> None:
    for path in (GRAFANA / "dashboards").glob("*.json"):
        taken: set[tuple[int, int]] = set()
        panels = json.loads(path.read_text())["panels"]
        for place in (panel["gridPos"] for panel in panels):
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, path.name
            assert place["x"] + place["w"] <= 24, path.name
            taken |= cells
        assert len({panel["id"] for panel in panels}) == len(panels), path.name
