"""Follows each record from the feed to the log, to the table, to the answer of the API.

Verified:
- lost: every acknowledged record is in the log; every message the table's progress has passed (or every one, if the
  run was drained) is in the table, or dead-lettered, or a duplicate by identity or by source number.
- duplicated: no identity and no coordinates are in the table twice; no source number is within one numbering of a key.
- reordered: records of one session and key are in one partition of the log, in the order they were fed.
- mutated: every field that two neighbouring stages share has the same value, exactly; event_time and receive_time are
  the microseconds of their nanoseconds.
- phantom: nothing is at a stage that was not at the one before; no answer comes from a snapshot that never was.
- aborted_but_visible: nothing is visible whose every attempt to produce failed, or that lies beyond the progress of the
  table, or of the snapshot that the answer says it is from.
- wrong_coordinates, wrong_schema_id: the log has it where the broker said, the table says where the log has it.
- progress_mismatch: the table's next offsets are the highest offsets accounted for, plus one.
- stale: no answer is from a snapshot older than the newest that was committed before the request.
- incomplete_answer: an answer holds each matching row of its snapshot once, and nothing else.

Not verified:
- the order of rows within an answer; which rows a limit keeps.
- freshness across a rollback: the newest snapshot is the one committed last.
- records fed with an unknown outcome that never appeared: they may be absent.
- source numbers in the table twice, where they lie below the first of their numbering or a range that was given up.
- fields that only one stage has. Stages that were not followed; the reason names them.

Reads the stages fed (with `outcome`), logged, stored, answered, dead_letters, snapshots; the operations request and
drain; the parameters required_stages (default fed and stored), sequence, staleness_tolerance_ms. See `answers` for the
attributes of a request.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.accounting import (
    Account,
    find_beyond_progress,
    find_duplicated,
    find_lost,
    find_progress_mismatch,
    settle,
)
from conformance.checkers.answers import find_in_answers, is_hybrid
from conformance.checkers.comparison import differing
from conformance.checkers.journey import (
    COORDINATES,
    DEAD_LETTERS,
    IDENTITY,
    NONE,
    RECORD_STAGES,
    BoolArray,
    IntArray,
    Journey,
    Part,
    Stage,
    among,
    counts,
    first_rows,
    load_journey,
    number_rows,
)
from conformance.checkers.progress import SNAPSHOTS
from conformance.checkers.verdict import MAX_EXAMPLES, Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

_BOOKKEEPING = frozenset(
    (*IDENTITY, *COORDINATES, "data_type", "outcome", "schema_id", "snapshot_id", "request", "decode_error")
)
_DERIVED_TIMES = {"event_time": "event_time_ns", "receive_time": "receive_time_ns"}


def check(history: History) -> Verdict:
    """The verdict on a history of the record's journey; samples are the acknowledged records."""
    journey = load_journey(history)
    followed = {*journey.stages, *([SNAPSHOTS] if history.of_stage(SNAPSHOTS) else [])}
    required = set(history.header.parameters.get("required_stages", ("fed", "stored"))) | {"fed", "stored"}
    if required - followed:
        return unknown("missing_stage", f"stages were not followed: {', '.join(sorted(required - followed))}")
    account = settle(history, journey)
    samples = int(account.acknowledged.sum())
    findings = [
        *find_lost(journey, account),
        *find_duplicated(journey, account),
        *find_beyond_progress(journey, account),
        *find_progress_mismatch(journey, account),
        *_reordered(journey),
        *_mutated(journey),
        *_phantom(history, journey),
        *_aborted(journey, account),
        *_wrong_coordinates(journey),
        *_wrong_schema_id(journey),
        *find_in_answers(history, journey),
    ]
    absent = [stage for stage in (*RECORD_STAGES, DEAD_LETTERS, SNAPSHOTS) if stage not in followed]
    suffix = f"; not followed: {', '.join(absent)}" if absent else ""
    return conclude(samples, findings, f"{samples} acknowledged records followed without a fault{suffix}")


def _neighbours(journey: Journey) -> Iterator[tuple[Stage, Stage]]:
    followed = journey.followed()
    return pairwise(followed)


def _reordered(journey: Journey) -> Iterator[Finding]:
    """Of records fed once, those that come earlier in the log than their predecessor of the same session and key."""
    fed = journey.stages["fed"]
    log = journey.stages.get("logged", fed)
    # The first message of each identity is the one with the lowest offset.
    by_offset = np.lexsort((log.offset, log.partition))
    by_offset = by_offset[log.offset[by_offset] != NONE]
    first = first_rows(log.identity[by_offset], journey.identities)
    once = counts(fed.identity, journey.identities) == 1
    rows = np.flatnonzero(among(fed.identity, once & (first != NONE)))
    key = [fed.column(name, pa.string()) for name in IDENTITY[:3]]
    (group,), _ = number_rows([[pa.chunked_array([pa.array(fed.data_types)]), *key]])
    rows = rows[np.lexsort((rows, group[rows]))]
    at = by_offset[first[fed.identity[rows]]]
    earlier, later = rows[:-1], rows[1:]
    neighbours = group[earlier] == group[later]
    elsewhere = neighbours & (log.partition[at[:-1]] != log.partition[at[1:]])
    backwards = neighbours & ~elsewhere & (log.offset[at[1:]] <= log.offset[at[:-1]])
    for wrong, detail in (
        (backwards, "in the log before its predecessor of the same session and key"),
        (elsewhere, "in another partition than its predecessor of the same session and key"),
    ):
        if wrong.any():
            yield Finding("reordered", detail, int(wrong.sum()), fed.examples(later[wrong]))


def _mutated(journey: Journey) -> Iterator[Finding]:
    for earlier, later in _neighbours(journey):
        first = first_rows(earlier.identity, journey.identities)
        compared = 0
        for part in later.parts:
            source = next((one for one in earlier.parts if one.data_type == part.data_type), None)
            if source is None:
                continue
            identity = later.identity[part.start : part.start + part.table.num_rows]
            rows = np.flatnonzero(among(identity, first != NONE))
            fields = [
                name
                for name in part.table.column_names
                if name not in _BOOKKEEPING and name in source.table.column_names
            ]
            compared += len(fields)
            left = source.table.select(fields).take(pa.array(first[identity[rows]] - source.start))
            right = part.table.select(fields).take(pa.array(rows))
            for name in fields:
                wrong = np.flatnonzero(differing(left[name], right[name]))
                if len(wrong):
                    detail = f"{name} of {part.data_type or 'records'} differs between {earlier.name} and {later.name}"
                    examples = tuple(
                        f"{later.describe(int(rows[row]) + part.start)}: "
                        f"{left[name][row].as_py()} in {earlier.name}, {right[name][row].as_py()} in {later.name}"
                        for row in wrong[:MAX_EXAMPLES].tolist()
                    )
                    yield Finding("mutated", detail, len(wrong), examples)
        if not compared and later.rows:
            yield doubt("nothing_compared", f"{earlier.name} and {later.name} share no field")
    for stage in journey.followed(("stored", "answered")):
        for part in stage.parts:
            yield from _wrong_times(stage, part)


def _wrong_times(stage: Stage, part: Part) -> Iterator[Finding]:
    for name, source in _DERIVED_TIMES.items():
        if not {name, source} <= set(part.table.column_names) or not pa.types.is_timestamp(part.table[name].type):
            continue
        expected = pc.floor(pc.divide(part.table[source].cast(pa.int64()), 1_000)).cast(pa.int64())
        found = part.table[name].cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
        wrong = np.flatnonzero(differing(expected, found))
        if len(wrong):
            detail = f"{name} in {stage.name} is not {source} in microseconds"
            yield Finding("mutated", detail, len(wrong), stage.examples(wrong + part.start))


def _phantom(history: History, journey: Journey) -> Iterator[Finding]:
    for earlier, later in _neighbours(journey):
        known = among(later.identity, journey.has_identity(earlier))
        if later.name == "answered" and "logged" in journey.stages:
            known |= _merged_from_log(history, journey, later)
        rows = np.flatnonzero((later.identity != NONE) & ~known)
        if len(rows):
            yield Finding("phantom", f"in {later.name}, and not in {earlier.name}", len(rows), later.examples(rows))
    logged, dead_letters = journey.stages.get("logged"), journey.stages.get(DEAD_LETTERS)
    if logged is not None and dead_letters is not None:
        rows = np.flatnonzero(~among(dead_letters.coordinates, journey.has_coordinates(logged)))
        if len(rows):
            detail = "a dead letter of a message that is not in the log"
            yield Finding("phantom", detail, len(rows), dead_letters.examples(rows))


def _merged_from_log(history: History, journey: Journey, answered: Stage) -> BoolArray:
    """Answered rows that are in the log, where the request asked for the tail of the log."""
    requests = [operation.attributes for operation in history.of_action("request")]
    names = [str(request.get("request")) for request in requests if is_hybrid(request)]
    hybrid = pc.is_in(answered.column("request", pa.string()), value_set=pa.array(names, pa.string()))
    in_log = among(answered.identity, journey.has_identity(journey.stages["logged"]))
    return in_log & np.asarray(hybrid.to_numpy(), dtype=np.bool_)


def _aborted(journey: Journey, account: Account) -> Iterator[Finding]:
    for stage in journey.followed(("logged", "stored", "answered")):
        rows = np.flatnonzero(among(stage.identity, account.refused))
        if len(rows):
            detail = f"in {stage.name}, though every attempt to produce it failed"
            yield Finding("aborted_but_visible", detail, len(rows), stage.examples(rows))


def _wrong_coordinates(journey: Journey) -> Iterator[Finding]:
    """Of identities that both stages have, the rows whose coordinates the other stage does not know for them."""
    fed, stored = journey.stages["fed"], journey.stages["stored"]
    pairs = [(stored, fed)]
    if "logged" in journey.stages:
        pairs = [(fed, journey.stages["logged"]), (stored, journey.stages["logged"])]
    if "answered" in journey.stages:
        pairs.append((journey.stages["answered"], stored))
    for stage, reference in pairs:
        known = _coordinate_pairs(journey, reference)
        comparable = journey.has_identity(reference, reference.coordinates != NONE)
        if reference is fed:
            # Where some attempt has no coordinates, the record may be at any of them.
            comparable &= ~journey.has_identity(fed, fed.coordinates == NONE)
        stated = among(stage.identity, comparable) & (stage.coordinates != NONE)
        rows = np.flatnonzero(stated & ~np.isin(_coordinate_pairs(journey, stage), known))
        if len(rows):
            detail = f"coordinates in {stage.name} are not those in {reference.name}"
            yield Finding("wrong_coordinates", detail, len(rows), stage.examples(rows))


def _coordinate_pairs(journey: Journey, stage: Stage) -> IntArray:
    """One number for each row's identity and coordinates together."""
    return stage.identity * (journey.coordinates + 1) + stage.coordinates


def _wrong_schema_id(journey: Journey) -> Iterator[Finding]:
    stored = journey.stages["stored"]
    sides = []
    if "logged" in journey.stages:
        logged = journey.stages["logged"]
        sides.append((logged, logged.coordinates, stored, stored.coordinates, journey.coordinates))
    if "answered" in journey.stages:
        answered = journey.stages["answered"]
        sides.append((stored, stored.identity, answered, answered.identity, journey.identities))
    for earlier, earlier_numbers, later, later_numbers, total in sides:
        first = first_rows(earlier_numbers, total)
        rows = np.flatnonzero(among(later_numbers, first != NONE))
        expected = earlier.integers("schema_id")[first[later_numbers[rows]]]
        found = later.integers("schema_id")[rows]
        wrong = rows[(expected != NONE) & (found != NONE) & (expected != found)]
        if len(wrong):
            detail = f"schema_id in {later.name} is not that in {earlier.name}"
            yield Finding("wrong_schema_id", detail, len(wrong), later.examples(wrong))
