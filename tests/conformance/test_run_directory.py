"""The run directory: a run is replaced, anything else is left alone, and `latest` follows."""

from pathlib import Path

import pytest

from conformance.run import _make_empty, _point_latest_at


def test_a_run_is_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    _make_empty(directory)
    (directory / "run.json").write_text("{}")
    (directory / "verdicts.jsonl").write_text("old")
    _make_empty(directory)
    assert list(directory.iterdir()) == []


def test_anything_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty and no run directory"):
        _make_empty(tmp_path)
    assert (tmp_path / "thesis").read_text() == "mine"


def test_latest_points_to_the_last_run(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _point_latest_at(tmp_path / name)
    assert (tmp_path / "latest").readlink() == Path("second")
