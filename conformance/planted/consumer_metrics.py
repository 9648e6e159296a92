"""What the checker of the consumers' metrics must catch.

The clean history has three processes: one alone at first, one that joins it and leaves again, and one that is overtaken
by somebody else's commit. One commit was not answered and holds, one was not answered and does not.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation, Operation, OperationOutcome
from conformance.planted.journey import SECOND_NS
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    drop_rows,
    edit_operations,
    edit_stage,
    with_attributes,
    with_parameters,
)

_TOPIC, _PARTITIONS = "market.crypto.trades", 4
_FIRST, _SECOND, _THIRD = "02-consumer-trades", "03-consumer-trades", "04-consumer-trades"
_BATCHES = {_FIRST: 9, _SECOND: 4, _THIRD: 2}
_EVENTS = (
    *((_FIRST, "assigned", 3), (_FIRST, "lost", 1), (_FIRST, "failed", 2), (_FIRST, "retried", 2)),
    *((_SECOND, "assigned", 1), (_THIRD, "assigned", 1), (_THIRD, "refused", 1), (_THIRD, "retried", 1)),
)
_LIVED_SECONDS = 20.0
_LIMITS = (10, 100, 1_000, inf)
_PROGRESS = pa.list_(pa.struct([("topic", pa.string()), ("partition", pa.int32()), ("next_offset", pa.int64())]))
Sample = dict[str, Any]


def clean_metrics(seed: int) -> History:
    """Batches of many sizes, some of nothing but rejects, and what their processes export of them."""
    random = np.random.default_rng(seed)
    snapshots: list[dict[str, Any]] = []
    offsets = dict.fromkeys(range(_PARTITIONS), 0)
    samples: dict[str, list[Sample]] = {}
    rejected = 0
    for member, count in _BATCHES.items():
        sizes = [int(size) for size in random.integers(5, 900, count)]
        rejects = [int(random.integers(0, 4)) if size > 8 else size for size in sizes]
        duplicates = [min(3, size - reject) for size, reject in zip(sizes, rejects, strict=True)]
        for size, reject, duplicate in zip(sizes, rejects, duplicates, strict=True):
            offsets[int(random.integers(0, _PARTITIONS))] += size
            snapshots.append(_snapshot(snapshots, offsets, size - reject - duplicate))
        if member == _THIRD:
            offsets[0] += 7
            snapshots.append(_snapshot(snapshots, offsets, 0))
        samples[member] = _samples(member, sizes, sum(rejects), sum(duplicates), float(random.uniform(0.1, 3.0)))
        rejected += sum(rejects)
    operations = [
        _operation(number, "scrape", {"variant": member, "member": member, "lived_seconds": _LIVED_SECONDS,
                                      "samples": found})
        for number, (member, found) in enumerate(samples.items())
    ]  # fmt: skip
    operations.append(_operation(9, "overtake", {"snapshot_id": snapshots[-1]["snapshot_id"]}))
    parameters = {"data_type": "trades", "must_occur": sorted({event for _, event, _ in _EVENTS})}
    schema = pa.schema(
        [("snapshot_id", pa.int64()), ("parent_id", pa.int64()), ("progress", _PROGRESS), ("added_records", pa.int64())]
    )
    members, events, numbers = zip(*_EVENTS, strict=True)
    # Two were sent again by the batch that followed an unanswered commit.
    of = [*range(rejected), 0, 1]
    letters = pa.table(
        {"topic": [_TOPIC] * len(of), "kafka_partition": [number % 3 for number in of], "kafka_offset": of}
    )
    return History(
        Header("planted/consumer_metrics", (), "consumer_metrics", seed, "embedded", START_NS, parameters),
        tuple(operations),
        (
            Observation("snapshots", pa.Table.from_pylist(snapshots, schema=schema)),
            Observation("dead_letters", letters),
            Observation("events", pa.table({"member": members, "event": events, "number": pa.array(numbers)})),
        ),
    )


def _snapshot(earlier: list[dict[str, Any]], offsets: Mapping[int, int], rows: int) -> dict[str, Any]:
    progress = [{"topic": _TOPIC, "partition": p, "next_offset": offset} for p, offset in offsets.items() if offset]
    parent = earlier[-1]["snapshot_id"] if earlier else None
    return {"snapshot_id": 100 + len(earlier), "parent_id": parent, "progress": progress, "added_records": rows}


def _samples(member: str, sizes: list[int], rejects: int, duplicates: int, seconds: float) -> list[Sample]:
    seen = {event: number for name, event, number in _EVENTS if name == member}
    steps = ("decode", "judge", "write", "reject", "commit", "report")
    ranked = sorted(sizes)
    return [
        _sample("k2_messages_received_total", sum(sizes)),
        _sample("k2_duplicates_detected_total", duplicates),
        _sample("k2_messages_rejected_total", rejects, stage="decode", reason="not_framed"),
        _sample("k2_consumer_commits_total", len(sizes), outcome="success"),
        *(_sample("k2_consumer_commits_total", seen[one], outcome=one) for one in ("refused", "failed") if one in seen),
        *(_sample("k2_consumer_rebalances_total", seen[one], kind=one) for one in ("assigned", "lost") if one in seen),
        *(_sample("k2_retries_total", seen["retried"], reason="ENOTDIR") for _ in range("retried" in seen)),
        _sample("k2_consumer_batch_rows_count", len(sizes)),
        _sample("k2_consumer_batch_rows_sum", sum(sizes)),
        *(_sample("k2_consumer_batch_rows_bucket", bisect_left(ranked, limit + 1), le=str(limit)) for limit in _LIMITS),
        _sample("k2_consumer_batch_seconds_count", len(sizes)),
        _sample("k2_consumer_batch_seconds_sum", seconds),
        *(_sample("k2_consumer_step_seconds_count", len(sizes), step=step) for step in steps),
    ]


def _sample(name: str, value: float, **labels: str) -> Sample:
    return {"name": name, "labels": {"data_type": "trades", **labels}, "value": float(value)}


def _operation(second: int, action: str, attributes: dict[str, Any]) -> Operation:
    at = second * SECOND_NS
    return Operation("harness", action, OperationOutcome.OK, at, at, START_NS + at, attributes)


def _scraped(edit: Callable[[Sample], Sample | None], name: str, member: str = _FIRST, **labels: str) -> Plant:
    """The samples of one process that have this name and these labels changed; None takes one out."""

    def chosen(sample: Sample) -> bool:
        return bool(sample["name"] == name and labels.items() <= sample["labels"].items())

    def edited(operation: Operation) -> Operation:
        samples = [edit(one) if chosen(one) else one for one in operation.attributes["samples"]]
        return with_attributes(operation, {"samples": [one for one in samples if one is not None]})

    return lambda history: edit_operations(history, "scrape", edited, member)


def _by(amount: float) -> Callable[[Sample], Sample]:
    return lambda sample: {**sample, "value": sample["value"] + amount}


def _relabelled(**labels: str | None) -> Callable[[Sample], Sample]:
    def edit(sample: Sample) -> Sample:
        merged = {**sample["labels"], **labels}
        return {**sample, "labels": {name: value for name, value in merged.items() if value is not None}}

    return edit


def _taken_out(_: Sample) -> None:
    return None


_BATCH = "k2_consumer_batch"
SUITE = Suite(
    "consumer_metrics",
    clean_metrics,
    (
        Defect("messages_of_a_failed_batch_counted", "wrong_messages", _scraped(_by(5), "k2_messages_received_total")),
        Defect(
            "messages_of_a_settled_batch_left_out", "wrong_messages", _scraped(_by(-5), "k2_messages_received_total")
        ),
        Defect("duplicate_left_out", "unaccounted", _scraped(_by(-1), "k2_duplicates_detected_total", _SECOND)),
        Defect("reject_counted_twice", "unaccounted", _scraped(_by(1), "k2_messages_rejected_total")),
        Defect(
            "dead_letter_not_counted",
            "unaccounted",
            lambda history: edit_stage(history, "dead_letters", lambda table: drop_rows(table, [2])),
        ),
        Defect("batch_not_observed", "wrong_batches", _scraped(_by(-1), f"{_BATCH}_rows_count")),
        Defect("batch_in_the_wrong_bucket", "wrong_batches", _scraped(_by(1), f"{_BATCH}_rows_bucket", le="100")),
        Defect("rows_instead_of_messages", "wrong_batches", _scraped(_by(-20), f"{_BATCH}_rows_sum", _SECOND)),
        Defect("duration_not_observed", "wrong_batches", _scraped(_by(-1), f"{_BATCH}_seconds_count")),
        Defect("durations_in_milliseconds", "wrong_batches", _scraped(_by(900), f"{_BATCH}_seconds_sum")),
        Defect(
            "commit_without_a_snapshot",
            "wrong_commits",
            _scraped(_by(1), "k2_consumer_commits_total", outcome="success"),
        ),
        Defect(
            "failed_commit_left_out",
            "wrong_commits",
            _scraped(_taken_out, "k2_consumer_commits_total", outcome="failed"),
        ),
        Defect(
            "refusal_called_a_failure",
            "wrong_commits",
            _scraped(_relabelled(outcome="failed"), "k2_consumer_commits_total", _THIRD, outcome="refused"),
        ),
        Defect("retry_left_out", "wrong_retries", _scraped(_by(-1), "k2_retries_total")),
        Defect(
            "assignment_left_out",
            "wrong_rebalances",
            _scraped(_by(-1), "k2_consumer_rebalances_total", kind="assigned"),
        ),
        Defect(
            "loss_of_another_process",
            "wrong_rebalances",
            _scraped(_relabelled(kind="lost"), "k2_consumer_rebalances_total", _SECOND),
        ),
        Defect("label_missing", "wrong_label", _scraped(_relabelled(data_type=None), "k2_retries_total")),
        Defect("another_data_type", "wrong_label", _scraped(_relabelled(data_type="quotes"), f"{_BATCH}_rows_sum")),
        Defect(
            "metric_not_exported",
            "not_exported",
            _scraped(_taken_out, "k2_consumer_step_seconds_count"),
            Outcome.UNKNOWN,
        ),
        Defect(
            "nobody_asked", "not_exported", lambda one: edit_operations(one, "scrape", lambda _: None), Outcome.UNKNOWN
        ),
        Defect(
            "nothing_refused", "not_occurred", lambda one: with_parameters(one, must_occur=["killed"]), Outcome.UNKNOWN
        ),
    ),
)
