"""Queries over their time limit: 504 in time, and the work really stopped.

Verified:
- wrong_status: work longer than its limit is answered 504, shorter work 200.
- wrong_envelope: the body of a 504 names QUERY_TIMEOUT.
- that some work was longer than its limit; otherwise the verdict is unknown.
- late: every answer comes within the limit plus a quarter of it, or plus 250 ms if that is more. A late one during
  which the machine itself stood still for as long as it was late says nothing of the system: it is no sample.
- early: no 504 comes before the limit has passed.
- slot_not_returned: a request that follows on the same slot is answered 200.
- work_not_stopped: no connection of the pool is active once the 504 was answered and time was given to stop.
- processor_busy: the server's process then uses less than half a core, where that was measured.

Not verified:
- that the processor was released at the very moment of the answer: only soon after.
- limits of the pool's queue, of headers and of bodies.
- work whose length is within the tolerance of its limit: either status will do.

Reads the operation request with the attributes limit_seconds, duration_seconds (as the client saw it; without it, the
operation's own times), work_seconds (how long the work would take; without it, longer than the limit), status,
error_code, follow_up_status, active_connections_after, processor_share_after (cores in use; may be missing), variant,
machine_stall_seconds (the longest time the client did not run at all; may be missing).
The parameter expected_code replaces QUERY_TIMEOUT; minimum_processor_samples says how often the share must be there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History, Operation

_TIMED_OUT, _OK = 504, 200
_TOLERANCE_SHARE = 0.25
_TOLERANCE_SECONDS = 0.25
_CLOCK_SECONDS = 0.01
_BUSY_SHARE = 0.5
_NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, its times in seconds."""

    name: str
    limit_seconds: float
    duration_seconds: float
    work_seconds: float
    status: int | None
    attributes: Mapping[str, Any]

    @property
    def tolerance_seconds(self) -> float:
        return max(self.limit_seconds * _TOLERANCE_SHARE, _TOLERANCE_SECONDS)

    @property
    def late_seconds(self) -> float:
        """By how much it missed the limit and its tolerance."""
        return self.duration_seconds - self.limit_seconds - self.tolerance_seconds

    @property
    def is_disturbed(self) -> bool:
        """Whether it was late and a machine that stood still is enough to explain it."""
        return 0 < self.late_seconds <= float(self.attributes.get("machine_stall_seconds", 0.0))

    @property
    def due_status(self) -> int | None:
        """504 or 200; None where the work ends so near its limit that either will do."""
        if abs(self.work_seconds - self.limit_seconds) <= self.tolerance_seconds:
            return None
        return _TIMED_OUT if self.work_seconds > self.limit_seconds else _OK


def check(history: History) -> Verdict:
    """The verdict on a history of long queries; samples are the requests that were answered."""
    requests = [_request(operation) for operation in history.of_action("request")]
    answered = [request for request in requests if request.status is not None and not request.is_disturbed]
    disturbed = sum(request.is_disturbed for request in requests)
    timed_out = [request for request in answered if request.status == _TIMED_OUT]
    code = history.header.parameters.get("expected_code", "QUERY_TIMEOUT")
    findings = [
        *_where(answered, "wrong_status", "the status is not the one the work calls for", _wrong_status),
        *_where(answered, "late", "the answer came after the limit and its tolerance", _late),
        *_where(timed_out, "early", "the 504 came before the limit", _early),
        *_where(timed_out, "wrong_envelope", f"the body does not name {code}", lambda one: _wrong_code(one, code)),
        *_where(timed_out, "slot_not_returned", "the next request on the slot was not answered 200", _slot_kept),
        *_where(timed_out, "work_not_stopped", "connections of the pool stayed active", _still_active),
        *_where(timed_out, "processor_busy", "the server went on computing", _still_computing),
        *_gaps_in_evidence(requests, timed_out),
        *_unmeasured(history, timed_out),
    ]
    passed = f"{len(answered)} requests, {len(timed_out)} stopped at their limit, slots given back"
    if disturbed:
        passed += f"; {disturbed} more not judged, for the machine stood still"
    return conclude(len(answered), findings, passed)


def _request(operation: Operation) -> _Request:
    attributes = operation.attributes
    elapsed_ns = operation.completed_monotonic_ns - operation.invoked_monotonic_ns
    return _Request(
        name=str(attributes.get("variant", operation.action)),
        limit_seconds=float(attributes["limit_seconds"]),
        duration_seconds=float(attributes.get("duration_seconds", elapsed_ns / _NS_PER_SECOND)),
        work_seconds=float(attributes.get("work_seconds", "inf")),
        status=attributes.get("status"),
        attributes=attributes,
    )


def _where(
    requests: Sequence[_Request], kind: str, detail: str, problem: Callable[[_Request], str | None]
) -> Iterator[Finding]:
    wrong = [f"{request.name}: {found}" for request in requests if (found := problem(request)) is not None]
    if wrong:
        yield Finding(kind, detail, len(wrong), tuple(wrong))


def _wrong_status(request: _Request) -> str | None:
    allowed = (_OK, _TIMED_OUT) if request.due_status is None else (request.due_status,)
    if request.status in allowed:
        return None
    return f"{request.status} after {request.duration_seconds:.3f} s with a limit of {request.limit_seconds:g} s"


def _late(request: _Request) -> str | None:
    if request.late_seconds <= 0:
        return None
    return f"{request.duration_seconds:.3f} s with a limit of {request.limit_seconds:g} s"


def _early(request: _Request) -> str | None:
    if request.duration_seconds >= request.limit_seconds - _CLOCK_SECONDS:
        return None
    return f"{request.duration_seconds:.3f} s with a limit of {request.limit_seconds:g} s"


def _wrong_code(request: _Request, code: str) -> str | None:
    found = request.attributes.get("error_code")
    return None if found == code else repr(found)


def _slot_kept(request: _Request) -> str | None:
    status = request.attributes.get("follow_up_status")
    return None if status in (None, _OK) else str(status)


def _still_active(request: _Request) -> str | None:
    active = request.attributes.get("active_connections_after")
    return None if active in (None, 0) else f"{active} active"


def _still_computing(request: _Request) -> str | None:
    share = request.attributes.get("processor_share_after")
    return None if share is None or share < _BUSY_SHARE else f"{share:.2f} cores in use"


def _unmeasured(history: History, timed_out: Sequence[_Request]) -> Iterator[Finding]:
    due = int(history.header.parameters.get("minimum_processor_samples", 0))
    measured = sum(request.attributes.get("processor_share_after") is not None for request in timed_out)
    if measured < due:
        yield doubt("processor_not_read", f"the processor was looked at after {measured} of {due} stops")


def _gaps_in_evidence(requests: Sequence[_Request], timed_out: Sequence[_Request]) -> Iterator[Finding]:
    if not any(request.due_status == _TIMED_OUT for request in requests):
        yield doubt("limit_untried", "no request asked for work longer than its limit")
    silent = tuple(request.name for request in requests if request.status is None)
    if silent:
        yield doubt("no_answer", "no answer could be read", len(silent), silent)
    for name, kind in (("follow_up_status", "slot_not_tried"), ("active_connections_after", "pool_not_read")):
        without = tuple(request.name for request in timed_out if request.attributes.get(name) is None)
        if without:
            yield doubt(kind, f"{name} was not recorded", len(without), without)
