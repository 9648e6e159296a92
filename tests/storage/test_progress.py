"""Progress survives its trip through a snapshot's summary, and nothing that was damaged is taken for progress."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from k2.errors import ProgressError
from k2.storage.progress import PartitionKey, PartitionProgress, Progress, TopicIdentity

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.builds(PartitionKey, NAMES, NAMES, st.integers(0, 2**31 - 1))
PLACES = st.builds(PartitionProgress, st.integers(0, 2**63 - 1), st.none() | NAMES)
TOPICS = st.builds(TopicIdentity, st.integers(1, 1_000), st.none() | NAMES)
PROGRESS = st.builds(Progress, st.dictionaries(KEYS, PLACES, max_size=6), st.dictionaries(NAMES, TOPICS, max_size=3))
KEY, OTHER = PartitionKey("cluster-a", "market.crypto.trades", 0), PartitionKey("cluster-b", "t", 1)
EXAMPLE = Progress(
    {KEY: PartitionProgress(7, "s.arrow"), OTHER: PartitionProgress(9)}, {"cluster-a/t": TopicIdentity(4, "id of t")}
)


@given(PROGRESS)
def test_progress_comes_back_from_json_as_it_was(progress: Progress) -> None:
    assert Progress.from_json(progress.to_json()) == progress


def test_the_json_is_this() -> None:
    assert json.loads(EXAMPLE.to_json()) == {
        "format": 2,
        "clusters": {
            "cluster-a": {"market.crypto.trades": {"0": [7, "s.arrow"]}},
            "cluster-b": {"t": {"1": [9, None]}},
        },
        "topics": {"cluster-a/t": [4, "id of t"]},
    }


def test_the_first_format_is_read_without_topic_ids() -> None:
    text = '{"format":1,"clusters":{"c":{"t":{"0":[7,"s.arrow"]}}},"partition_counts":{"c/t":4}}'
    read = Progress.from_json(text)
    assert read.partitions == {PartitionKey("c", "t", 0): PartitionProgress(7, "s.arrow")}
    assert read.topics == {"c/t": TopicIdentity(4, None)}


@given(PROGRESS, PROGRESS)
def test_partitions_that_do_not_move_are_carried_forward(before: Progress, change: Progress) -> None:
    after = before.advanced(change.partitions, change.topics)
    for key in before.partitions.keys() | change.partitions.keys():
        assert after.partitions[key] == (change.partitions.get(key) or before.partitions[key])
    assert after.partitions.keys() == before.partitions.keys() | change.partitions.keys()
    assert after.cluster_ids() == before.cluster_ids() | change.cluster_ids()
    assert {**before.topics, **change.topics} == after.topics


@given(st.integers(0, len(EXAMPLE.to_json()) - 1))
def test_json_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ProgressError, match="roll the table back"):
        Progress.from_json(EXAMPLE.to_json()[:length])


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "{}",
        "7",
        '{"format":1}',
        '{"format":1,"clusters":{}}',
        '{"format":1,"clusters":[],"partition_counts":{}}',
        '{"format":1,"clusters":{},"partition_counts":null}',
        '{"format":1,"clusters":{},"partition_counts":{"c/t":"four"}}',
        '{"format":1,"clusters":{"c":[]},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[1]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":"12"}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":["1",null]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[1.5,null]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[true,null]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[-1,null]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[Infinity,null]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"0":[1,5]}}},"partition_counts":{}}',
        '{"format":1,"clusters":{"c":{"t":{"zero":[1,null]}}},"partition_counts":{}}',
        '{"format":2,"clusters":{},"partition_counts":{}}',
        '{"format":2,"clusters":{},"topics":{"c/t":4}}',
        '{"format":2,"clusters":{},"topics":{"c/t":["4",null]}}',
        '{"format":2,"clusters":{},"topics":{"c/t":[4,5]}}',
    ],
)
def test_json_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(ProgressError, match="roll the table back") as caught:
        Progress.from_json(text)
    assert "\n" not in str(caught.value)


@given(st.integers() | st.text(max_size=3) | st.none())
def test_another_format_asks_for_an_upgrade(version: object) -> None:
    assume(version != 1)
    document = {**json.loads(EXAMPLE.to_json()), "format": version}
    with pytest.raises(ProgressError, match="upgrade K2"):
        Progress.from_json(json.dumps(document))


def test_partitions_are_named_by_cluster_topic_and_number() -> None:
    assert str(KEY) == "cluster-a/market.crypto.trades/0"
