"""Nothing lost and nothing twice, although processes were killed.

Verified:
- lost: every acknowledged record is in the table, or dead-lettered, or a duplicate by identity or by source number.
- duplicated: no identity and no coordinates are in the table twice; no source number is within one numbering of a key.
- reported_before_commit: the offsets reported to Kafka never ran ahead of the table's progress.
- that every planned kill was executed and the process really died of it; otherwise the verdict is unknown.

Not verified:
- values, order, schema ids, answers (see `provenance`).
- records whose fed outcome is fail or unknown: they may be absent, and may be there once.
- what the process did between the step that the kill names and its death.

Reads the stages fed, stored, dead_letters, and snapshots where the run was not drained; the operations kill
(attributes step, exit_signal), offsets_reported (topic, partition, offset, table_next_offset) and drain; the parameters
expected_kills (steps, one entry for each kill) and sequence. Where the run was neither drained nor its snapshots
observed, a missing record makes the verdict unknown.
"""

from collections import Counter
from collections.abc import Iterator

from conformance.checkers.accounting import find_duplicated, find_lost, settle
from conformance.checkers.journey import DEAD_LETTERS, load_journey
from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

_SIGKILL = 9


def check(history: History) -> Verdict:
    """The verdict on a history of deliveries; samples are the acknowledged records."""
    journey = load_journey(history, ("fed", "stored", DEAD_LETTERS))
    missing = [name for name in ("fed", "stored") if name not in journey.stages]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    account = settle(history, journey)
    samples = int(account.acknowledged.sum())
    findings = [
        *find_lost(journey, account),
        *find_duplicated(journey, account),
        *_reported_before_commit(history),
        *_kills_without_effect(history),
    ]
    kills = len(history.header.parameters.get("expected_kills", ()))
    return conclude(samples, findings, f"{samples} acknowledged records delivered once, {kills} kills survived")


def _reported_before_commit(history: History) -> Iterator[Finding]:
    early = [
        f"{one['topic']}/{one['partition']}: reported {one['offset']}, table at {one['table_next_offset']}"
        for one in (operation.attributes for operation in history.of_action("offsets_reported"))
        if one["offset"] > one["table_next_offset"]
    ]
    if early:
        yield Finding("reported_before_commit", "offsets reported before the commit", len(early), tuple(early))


def _kills_without_effect(history: History) -> Iterator[Finding]:
    expected = Counter(str(step) for step in history.header.parameters.get("expected_kills", ()))
    bitten = Counter(
        str(operation.attributes.get("step"))
        for operation in history.of_action("kill")
        if operation.outcome == "ok" and operation.attributes.get("exit_signal") == _SIGKILL
    )
    harmless = expected - bitten
    if harmless:
        detail = "the fault did not bite: a planned kill did not end its process"
        yield doubt("fault_did_not_bite", detail, harmless.total(), tuple(harmless.elements()))
