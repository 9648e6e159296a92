"""What the checker of time limits must catch."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes

_SHORT_LIMIT, _LONG_LIMIT = 0.5, 4.0
_PLAN = {"minimum_samples": 10, "minimum_processor_samples": 6}


def clean_time_limits(seed: int) -> History:
    """Work far over its limit on two limits, work under it, and work so near it that either answer will do."""
    random = np.random.default_rng(seed)
    requests = [
        *(_stopped(f"stopped_{number}", _SHORT_LIMIT, random) for number in range(4)),
        *(_stopped(f"long_stopped_{number}", _LONG_LIMIT, random) for number in range(2)),
        *(_finished(f"finished_{number}", random) for number in range(3)),
        {**_finished("near_the_limit", random), "work_seconds": _SHORT_LIMIT + 0.1, "duration_seconds": 0.61},
        # The machine stood still for longer than the answer was late.
        {**_stopped("disturbed", _SHORT_LIMIT, random), "duration_seconds": 1.4, "machine_stall_seconds": 0.8},
    ]
    events = [
        operation("api", "request", START_NS + number * 10 * SECOND_NS, request)
        for number, request in enumerate(requests)
    ]
    # One request gives no duration of its own: its operation's times do.
    duration = events[0].attributes["duration_seconds"]
    attributes = {name: value for name, value in events[0].attributes.items() if name != "duration_seconds"}
    completed = events[0].invoked_monotonic_ns + int(duration * SECOND_NS)
    events[0] = replace(events[0], completed_monotonic_ns=completed, attributes=attributes)
    header = Header("planted/time_limits", (), "time_limits", seed, "embedded", START_NS, _PLAN)
    return History(header, tuple(events))


def _stopped(variant: str, limit_seconds: float, random: np.random.Generator) -> dict[str, Any]:
    return {
        "variant": variant,
        "limit_seconds": limit_seconds,
        "work_seconds": 60.0,
        "duration_seconds": limit_seconds + float(random.uniform(0.001, 0.2)),
        "status": 504,
        "error_code": "QUERY_TIMEOUT",
        "follow_up_status": 200,
        "active_connections_after": 0,
        "processor_share_after": float(random.uniform(0.0, 0.3)),
    }


def _finished(variant: str, random: np.random.Generator) -> dict[str, Any]:
    work_seconds = float(random.uniform(0.01, 0.2))
    return {
        "variant": variant,
        "limit_seconds": _SHORT_LIMIT,
        "work_seconds": work_seconds,
        "duration_seconds": work_seconds + 0.01,
        "status": 200,
    }


def _answered(variant: str, **changed: object) -> Plant:
    return lambda history: edit_operations(history, "request", lambda one: with_attributes(one, changed), variant)


def _hung(history: History) -> History:
    """By the operation's own times, the answer came a second late."""
    return edit_operations(
        history,
        "request",
        lambda one: replace(one, completed_monotonic_ns=one.completed_monotonic_ns + SECOND_NS),
        "stopped_0",
    )


def _only_short_work(history: History) -> History:
    return edit_operations(history, "request", lambda one: one if one.attributes["status"] == 200 else None)


SUITE = Suite(
    "time_limits",
    clean_time_limits,
    (
        Defect("answered_over_the_limit", "wrong_status", _answered("stopped_1", status=200, duration_seconds=0.55)),
        Defect("short_work_stopped", "wrong_status", _answered("finished_1", status=504, duration_seconds=0.51)),
        Defect("crashed_at_the_limit", "wrong_status", _answered("stopped_2", status=500)),
        Defect("timeout_a_second_late", "late", _answered("long_stopped_0", duration_seconds=_LONG_LIMIT + 1.001)),
        Defect("short_timeout_late", "late", _answered("stopped_3", duration_seconds=_SHORT_LIMIT + 0.26)),
        Defect("late_beyond_the_stall", "late", _answered("disturbed", duration_seconds=1.6)),
        Defect("hung_by_the_operations_clock", "late", _hung),
        Defect("stopped_before_the_limit", "early", _answered("long_stopped_1", duration_seconds=3.9)),
        Defect("error_code_changed", "wrong_envelope", _answered("stopped_1", error_code="INTERNAL_ERROR")),
        Defect("slot_not_given_back", "slot_not_returned", _answered("stopped_1", follow_up_status=503)),
        Defect("query_still_running", "work_not_stopped", _answered("stopped_1", active_connections_after=1)),
        Defect("rendering_goes_on", "processor_busy", _answered("stopped_1", processor_share_after=0.97)),
        Defect(
            "processor_not_read",
            "processor_not_read",
            _answered("stopped_1", processor_share_after=None),
            Outcome.UNKNOWN,
        ),
        Defect("slot_not_tried", "slot_not_tried", _answered("stopped_1", follow_up_status=None), Outcome.UNKNOWN),
        Defect("only_short_work", "limit_untried", _only_short_work, Outcome.UNKNOWN),
        Defect("no_answer_read", "no_answer", _answered("stopped_1", status=None), Outcome.UNKNOWN),
    ),
)
