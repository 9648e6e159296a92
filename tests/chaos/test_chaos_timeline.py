"""Timeline and picture, made from a history alone."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from chaos.picture import picture
from chaos.timeline import timeline, write_timeline
from conformance.history import History, Observation
from conformance.planted.chaos import clean_chaos
from conformance.planted.records import START_NS


def history() -> History:
    clean = clean_chaos(1)
    header = replace(clean.header, started_wall_ns=START_NS, clause="chaos/crafted")
    operations = tuple(
        replace(one, attributes={**one.attributes, "kept": {"counts": {"acknowledged": 3}}})
        if one.action == "fault"
        else one
        for one in clean.operations
    )
    lines = pa.table({"wall_ns": [START_NS + 11 * 10**9], "source": ["kafka-1"], "text": ["ERROR <of> & all"]})
    acknowledgements = next(one for one in clean.observations if one.stage == "acknowledgements").table
    timed = acknowledgements.append_column("latency_seconds", pa.array([0.02] * acknowledgements.num_rows))
    others = tuple(one for one in clean.observations if one.stage != "acknowledgements")
    observations = (*others, Observation("acknowledgements", timed), Observation("error_lines", lines))
    return replace(clean, header=header, operations=operations, observations=observations)


def test_everything_stands_on_one_clock(tmp_path: Path) -> None:
    document = timeline(history())
    write_timeline(document, tmp_path / "timelines" / "crafted.json")
    assert json.loads((tmp_path / "timelines" / "crafted.json").read_text()) == document
    assert [row["second"] for row in document["seconds"]] == list(range(30))
    assert {row["acknowledged"] for row in document["seconds"]} == {300}
    assert {row["latency_ms"] for row in document["seconds"]} == {20.0}
    assert [(one["fault"], one["from"], one["to"]) for one in document["faults"]] == [
        ("first", 10.0, 14.0),
        ("second", 20.0, 23.0),
    ]
    assert document["errors"] == [{"second": 11.0, "source": "kafka-1", "text": "ERROR <of> & all"}]
    assert document["measures"]["recovery_seconds"] == 1.0
    assert [one["outcome"] for one in document["calls"] if one["second"] == 10.5] == ["UnavailableError"]


def test_the_picture_is_one_file_that_needs_no_other() -> None:
    drawn = picture(timeline(history()))
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg")
    texts = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"acknowledged", "committed", "records a second", "first on somewhere"} <= texts
    assert "<script" not in drawn
    assert "href" not in drawn


def test_a_history_that_broke_off_can_be_drawn() -> None:
    document = timeline(replace(history(), operations=(), observations=()))
    assert document["measures"]["acknowledged"] == 0
    assert ElementTree.fromstring(picture(document)).tag.endswith("svg")
