"""A stored load is drawn: whole, on one clock, loading nothing."""

from pathlib import Path

import orjson
import pytest

from conformance.planted.load import clean_load
from load._picture import latency_against_load, picture
from load._record import Record


def test_a_picture_names_phases_gauges_and_load_and_loads_nothing() -> None:
    svg = picture(clean_load(1))
    for text in ("calm", "spike", "connections in use", "latency from due", "requests due a second"):
        assert text in svg
    assert "http" not in svg.replace("http://www.w3.org", "")


def test_latency_against_load_is_of_phases_with_a_rate() -> None:
    found = {one["phase"]: one for one in latency_against_load(clean_load(1))}
    assert set(found) == {"calm", "spike"}
    assert found["spike"]["due_per_second"] == pytest.approx(60)
    assert 0 < found["calm"]["p50"] <= found["calm"]["p99"]


def test_each_process_records_into_a_file_of_its_own(tmp_path: Path) -> None:
    with Record(tmp_path / "deep" / "requests") as record:
        record.add({"status": 200})
    (kept,) = (tmp_path / "deep").iterdir()
    assert kept == record.path
    assert orjson.loads(kept.read_bytes()) == {"status": 200}
