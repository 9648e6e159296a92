"""Asks consumers for their metrics once they stand still, and collects what was seen of them meanwhile."""

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families

from conformance.drivers import http
from conformance.drivers.feeding import Place
from conformance.drivers.silence import metrics_url
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from conformance.stacks.racing_writer import build_writer
from k2.embedded.processes import ChildProcess
from k2.storage.writer import NO_FILES, Advance

REFUSAL = "another writer was first, nothing was written"
STILL_SECONDS = 0.4
SETTLE_SECONDS = 30.0
COUNTED_SECONDS = 3.0
# Of the consumer; the storage's metrics are by table.
_PREFIXES = ("k2_consumer_", "k2_messages_", "k2_duplicates_", "k2_sequence_", "k2_retries_", "k2_dead_letters_")
_CHANGING = ("k2_consumer_lag_messages", "k2_consumer_lag_seconds")
Samples = list[dict[str, Any]]


class WatchedConsumer:
    """A consumer process that serves its metrics.

    Attributes:
        member: its name in the history.
        events: what its log told when it was scraped.
    """

    def __init__(self, process: ChildProcess) -> None:
        self.process = process
        self.member = process.log_path.stem
        self.url = metrics_url(process)
        self.events: Counter[str] = Counter()
        self._started = time.monotonic()

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log up to now."""
        lines = self.process.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def held_places(self) -> set[Place]:
        """The partitions it says it holds, by what it logged."""
        held: set[str] = set()
        for line in self.log_lines():
            if line["event"] == "assigned":
                held |= set(line["partitions"])
            elif line["event"] == "given up":
                held -= set(line["partitions"])
        return {(name, int(number)) for name, number in (place.rsplit("/", 1) for place in held)}

    def counted(self, name: str, labels: Mapping[str, str], expected: float) -> float:
        """A counter, given a moment to become what is expected: a commit is seen a little before it is counted."""
        give_up_at = time.monotonic() + COUNTED_SECONDS
        while True:
            value = http.metric(str(http.get(self.url).body), name, labels)
            if value == expected or time.monotonic() > give_up_at:
                return value
            time.sleep(0.05)

    def scrape(self, history: HistoryWriter) -> None:
        """The operation `scrape`, once neither metrics nor log have changed for a while.

        Raises:
            TimeoutError: they never stood still.
        """
        with history.invoke("harness", "scrape", {"member": self.member}) as invocation:
            samples = self._settled()
            self.events = self._logged_events()
            lived_seconds = time.monotonic() - self._started
            invocation.attributes |= {"lived_seconds": lived_seconds, "samples": samples}

    def _logged_events(self) -> Counter[str]:
        named = {"assigned": "assigned", "given up": "lost", "retrying": "retried"}
        lines = self.log_lines()
        found = Counter(named[line["event"]] for line in lines if line["event"] in named)
        found["refused"] = sum(REFUSAL in line.get("error", "") for line in lines)
        return found

    def _settled(self) -> Samples:
        give_up_at = time.monotonic() + SETTLE_SECONDS
        seen = self._look()
        while time.monotonic() < give_up_at:
            time.sleep(STILL_SECONDS)
            before, seen = seen, self._look()
            if before == seen:
                return seen[0]
        raise TimeoutError(f"the metrics of {self.member} did not stand still")

    def _look(self) -> tuple[Samples, int]:
        return consumer_samples(str(http.get(self.url).body)), len(self.log_lines())


def consumer_samples(exposition: str) -> Samples:
    """The samples of the consumer's metrics that change only when it does something."""
    return [
        {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name.startswith(_PREFIXES) and sample.name not in _CHANGING and not sample.name.endswith("_created")
    ]


def event_table(events: Mapping[str, Mapping[str, int]]) -> pa.Table:
    """Stage `events`: what was seen of each process."""
    rows = [
        {"member": member, "event": event, "number": number}
        for member, seen in events.items()
        for event, number in seen.items()
    ]
    fields = [("member", pa.string()), ("event", pa.string()), ("number", pa.int64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def unanswered_commits(evidence: Path) -> int:
    """How many commits were not answered, by what was left behind of it."""
    return len(evidence.read_text().splitlines())


def overtake(stack: Stack, history: HistoryWriter, places: Collection[Place]) -> None:
    """Commit in somebody else's name, past one message of each of these partitions."""
    writer = build_writer(stack.settings)
    progress = writer.progress()
    advances = {}
    for key, now in progress.partitions.items():
        if (key.topic, key.partition) in places:
            path = writer.write_state(writer.read_state(str(now.state_path)), key, now.next_offset + 1)
            advances[key] = Advance(now.next_offset, now.next_offset + 1, path)
    with history.invoke("harness", "overtake") as invocation:
        committed = writer.commit(NO_FILES, advances, progress.topics, "overtaking")
        invocation.attributes["snapshot_id"] = committed.snapshot_id
