"""What consumers export, beside what they did.

Verified:
- wrong_messages: messages received are those that the consumers' commits took the table past.
- unaccounted: they are the rows of these commits, duplicates and rejects; rejects are the dead letters, each counted
  once however often it was sent.
- wrong_batches: number, sizes and durations of batches are those of the commits; together they took no longer than the
  process lived.
- wrong_commits: commits that succeeded are the snapshots that nobody else made; refused and failed ones are those that
  were seen to be.
- wrong_retries: retries are those the processes logged.
- wrong_rebalances: each process has taken partitions over and given them up as often as it logged.
- wrong_label: every sample says which data type it is of.
- that each process exported each metric, and that what the plan names occurred; otherwise the verdict is unknown.

Not verified:
- lag and freshness, which change while nothing is done (see the clause lag_and_freshness).
- whether rows and dead letters are the right ones (see `delivery` and `dead_letters`).

Reads the stages
    snapshots     snapshot_id, parent_id, added_records, progress (list of topic, partition, next_offset)
    dead_letters  topic, kafka_partition, kafka_offset: of the message each was made of
    events        member, event (assigned, lost, retried, refused, failed), number: what was seen of each process
the operations
- scrape: attributes member, lived_seconds, samples (list of name, labels, value), taken when nothing was under way.
- overtake: attribute snapshot_id, of a commit made by nobody that is scraped.
and the parameters data_type and must_occur (names of events).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

Labels = Mapping[str, str]
_COUNTERS = (
    *("k2_messages_received_total", "k2_duplicates_detected_total"),
    *("k2_consumer_commits_total", "k2_consumer_rebalances_total"),
    *("k2_consumer_batch_rows_count", "k2_consumer_batch_seconds_count", "k2_consumer_step_seconds_count"),
)
_OUTCOMES = ("success", "refused", "failed")


class _Exported:
    """The samples of one process, or of several."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.samples = samples

    def total(self, name: str, **labels: str) -> int | float:
        values = [
            sample["value"]
            for sample in self.samples
            if sample["name"] == name and labels.items() <= sample["labels"].items()
        ]
        value = float(sum(values))
        return int(value) if value.is_integer() else value

    def buckets(self, name: str) -> dict[float, int]:
        """Observations up to each limit."""
        found: Counter[float] = Counter()
        for sample in self.samples:
            if sample["name"] == f"{name}_bucket":
                found[float(sample["labels"]["le"])] += int(sample["value"])
        return dict(found)


def check(history: History) -> Verdict:
    """The verdict on what consumers exported; samples are the messages they took in."""
    members = {scrape.attributes["member"]: _Exported(scrape.attributes["samples"]) for scrape in _scrapes(history)}
    if not members:
        return unknown("not_exported", "no process was asked for its metrics")
    everything = _Exported([sample for member in members.values() for sample in member.samples])
    events: Counter[tuple[str, str]] = Counter()
    for row in history.rows("events"):
        events[row["member"], row["event"]] += row["number"]
    batches = _batches(history)
    messages = sum(moved for moved, _ in batches)
    findings = [
        *_missing(history, members, events),
        *_wrong_labels(history, everything),
        *_wrong_messages(history, everything, batches),
        *_wrong_batches(history, everything, [moved for moved, _ in batches]),
        *_wrong_commits(everything, events, len(batches)),
        *_wrong_rebalances(members, events),
    ]
    return conclude(messages, findings, f"{messages} messages, {len(batches)} commits: exported as they happened")


def _scrapes(history: History) -> Iterator[Any]:
    """The scrapes that were answered."""
    return (scrape for scrape in history.of_action("scrape") if scrape.outcome == "ok")


def _batches(history: History) -> list[tuple[int, int]]:
    """Messages and rows of each commit of the consumers."""
    foreign = {one.attributes["snapshot_id"] for one in history.of_action("overtake")}
    snapshots = history.rows("snapshots")
    before: dict[int | None, dict[tuple[str, int], int]] = {
        row["snapshot_id"]: {(p["topic"], p["partition"]): p["next_offset"] for p in row["progress"]}
        for row in snapshots
    }
    found = []
    for row in snapshots:
        if row["snapshot_id"] not in foreign:
            parent, now = before.get(row["parent_id"], {}), before[row["snapshot_id"]]
            moved = sum(offset - parent.get(place, 0) for place, offset in now.items())
            found.append((moved, row["added_records"]))
    return found


def _missing(
    history: History, members: Mapping[str, _Exported], events: Mapping[tuple[str, str], int]
) -> Iterator[Finding]:
    for member, exported in members.items():
        names = {sample["name"] for sample in exported.samples}
        for name in _COUNTERS:
            if name not in names:
                yield doubt("not_exported", f"{member} does not export {name}")
    occurred = {event for (_, event), number in events.items() if number}
    for event in history.header.parameters["must_occur"]:
        if event not in occurred:
            yield doubt("not_occurred", f"{event} was planned and did not occur")


def _wrong_labels(history: History, exported: _Exported) -> Iterator[Finding]:
    data_type = history.header.parameters["data_type"]
    wrong = [str(one) for one in exported.samples if one["labels"].get("data_type") != data_type]
    if wrong:
        yield Finding("wrong_label", f"samples do not say data_type={data_type}", len(wrong), tuple(wrong))


def _wrong_messages(history: History, exported: _Exported, batches: list[tuple[int, int]]) -> Iterator[Finding]:
    received = exported.total("k2_messages_received_total")
    moved, rows = sum(moved for moved, _ in batches), sum(added for _, added in batches)
    yield from _differs("wrong_messages", "messages received", received, moved)
    rejected = exported.total("k2_messages_rejected_total")
    duplicates = exported.total("k2_duplicates_detected_total")
    letters = {(row["topic"], row["kafka_partition"], row["kafka_offset"]) for row in history.rows("dead_letters")}
    yield from _differs("unaccounted", "messages received", received, rows + duplicates + rejected)
    yield from _differs("unaccounted", "messages rejected", rejected, len(letters))


def _wrong_batches(history: History, exported: _Exported, sizes: list[int]) -> Iterator[Finding]:
    yield from _differs("wrong_batches", "batches", exported.total("k2_consumer_batch_rows_count"), len(sizes))
    yield from _differs(
        "wrong_batches", "messages in batches", exported.total("k2_consumer_batch_rows_sum"), sum(sizes)
    )
    for limit, found in sorted(exported.buckets("k2_consumer_batch_rows").items()):
        expected = sum(size <= limit for size in sizes)
        yield from _differs("wrong_batches", f"batches of at most {limit:g} messages", found, expected)
    durations = exported.total("k2_consumer_batch_seconds_count")
    yield from _differs("wrong_batches", "durations of batches", durations, len(sizes))
    for scrape in _scrapes(history):
        taken = _Exported(scrape.attributes["samples"]).total("k2_consumer_batch_seconds_sum")
        lived = scrape.attributes["lived_seconds"]
        if not 0 < taken <= lived:
            member = scrape.attributes["member"]
            yield Finding("wrong_batches", f"batches of {member} took {taken:.3f} s in {lived:.3f} s of life")


def _wrong_commits(exported: _Exported, events: Mapping[tuple[str, str], int], snapshots: int) -> Iterator[Finding]:
    seen: Counter[str] = Counter({"success": snapshots})
    for (_, event), number in events.items():
        seen[event] += number
    for outcome in _OUTCOMES:
        found = exported.total("k2_consumer_commits_total", outcome=outcome)
        yield from _differs("wrong_commits", f"commits with the outcome {outcome}", found, seen[outcome])
    yield from _differs("wrong_retries", "retries", exported.total("k2_retries_total"), seen["retried"])


def _wrong_rebalances(members: Mapping[str, _Exported], events: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    for member, exported in members.items():
        for kind in ("assigned", "lost"):
            found = exported.total("k2_consumer_rebalances_total", kind=kind)
            name = f"rebalances of {member} by which partitions were {kind}"
            yield from _differs("wrong_rebalances", name, found, events.get((member, kind), 0))


def _differs(kind: str, what: str, exported: float, happened: float) -> Iterator[Finding]:
    if exported != happened:
        yield Finding(kind, f"{what}: {exported} exported, {happened} happened")
