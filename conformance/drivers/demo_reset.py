"""What a reset of a demo could touch, looked at by itself: tables, logs, series."""

import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from conformance.drivers import http
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from conformance.stacks.containers.deployed import Deployed
from k2.ingestion.kafka import administrative_client, log_ranges
from k2.records.definition import RECORD_TYPES, all_topics

_ANSWER_SECONDS = 10.0


def rows(stack: Stack) -> dict[str, int]:
    """Rows of every table that has any."""
    counted = {one.table: view_table(stack.settings.storage, one.table).rows.num_rows for one in RECORD_TYPES.values()}
    return {table: count for table, count in counted.items() if count}


def log_starts(stack: Stack) -> dict[str, int]:
    """The first offset that is there, summed over the partitions of each topic that records were ever sent to."""
    topics = all_topics(stack.settings.kafka.topic_prefix)
    client = administrative_client(stack.settings.kafka)
    there = client.list_topics(timeout=_ANSWER_SECONDS).topics
    places = [(topic, number) for topic in topics if topic in there for number in there[topic].partitions]
    starts: dict[str, int] = {}
    for (topic, _), (first, end) in log_ranges(client, places).items():
        if end:
            starts[topic] = starts.get(topic, 0) + first
    return starts


def is_sample_there(deployed: Deployed, expression: str, at_seconds: float) -> bool:
    """Whether Prometheus still knows an expression's value as of a moment."""
    port = deployed.shell('printf "%s" "$PROMETHEUS_PORT"')
    query = urllib.parse.urlencode({"query": expression, "time": f"{at_seconds:.3f}"})
    answer: Mapping[str, Any] = http.get(f"http://127.0.0.1:{port}/api/v1/query?{query}").body
    return bool(answer["data"]["result"])


def announced(lines: str) -> list[tuple[str, str]]:
    """Kind and name of each thing that `k2 reset --json` names."""
    return sorted((one["kind"], one["name"]) for one in map(json.loads, lines.splitlines()))
