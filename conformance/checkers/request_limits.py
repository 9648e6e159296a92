"""Bodies over the limit: 413, and nothing else refused.

Verified:
- wrong_status: each request has the status that its sizes and the limit call for: a method that carries a body is
  refused with 413 if its declared length, or the bytes it sends in chunks, exceed the limit, whether or not the handler
  reads the body; with 400 if its Content-Length is not a number; and is let through otherwise, also where more follows
  than was declared, or something although nothing was.
- wrong_boundary: the same for a body of exactly the limit (let through) and one byte more (refused).
- wrong_envelope: the fields of a 413's body: success, code, message, size_mb, limit_mb; of a 400's: success, code,
  message.
- connection_left_open: after a 413 or 400 the server closed the connection, where the driver could see it.
- wrong_counter: the two counters grew by exactly the refusals: every 413 and every 400 that was due.
- wrong_labels: the same for each method and endpoint, and for each reason.
- memory_growth: the server's memory grew by less than twice the limit, where it was measured.

Not verified:
- bodies shorter than declared (see the header and body time limits).
- what the server read before it refused, other than by its memory.
- the text of the message.

Reads the operations
    request   method (default POST), declared_length (the Content-Length as sent: number or text; null if none),
              chunked, sent_bytes, limit_bytes, handler_reads, status (null: no answer could be read), envelope (the
              body as JSON), connection_closed (null: not seen), variant, expected_status (of a request let through;
              default 200), rss_before_bytes and rss_peak_bytes (optional, on any operation), framing ("none": nothing
              said that there is a body), endpoint and reason (the labels it is counted under)
    counters  moment (before | after), counters: {name: value}, by_label: {name: {label values with a blank: value}}
and the parameters required_variants, counters (false: the stack does not show its counters), labels and memory (true:
they must have been read).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_EXCEEDED = "http_request_size_limit_exceeded_total"
_ERRORS = "http_request_size_limit_errors_total"
_BODYLESS = ("GET", "HEAD", "OPTIONS")
_MIB = 1024 * 1024
_MEGABYTE_TOLERANCE = 0.011
_TOO_LARGE, _BAD_LENGTH, _LET_THROUGH = 413, 400, 200

Request = Mapping[str, Any]


def check(history: History) -> Verdict:
    """The verdict on a history of requests of many sizes; samples are the requests that were answered."""
    requests = [operation.attributes for operation in history.of_action("request")]
    answered = [request for request in requests if request.get("status") is not None]
    findings = [
        *_wrong_status(answered),
        *_wrong_envelopes(answered),
        *_connections_left_open(answered),
        *_wrong_counters(history, requests),
        *_wrong_labels(history, requests),
        *_memory_growth(history),
        *_coverage(history, requests, answered),
    ]
    refused = sum(_refusal(request) is not None for request in answered)
    passed = f"{refused} requests refused and {len(answered) - refused} let through, as their sizes say"
    return conclude(len(answered), findings, passed)


def _refusal(request: Request) -> int | None:
    """The status a request has to be refused with; None if it has to be let through."""
    if str(request.get("method", "POST")).upper() in _BODYLESS:
        return None
    if request.get("framing") == "none":
        return None
    limit = int(request["limit_bytes"])
    declared = request.get("declared_length")
    if declared is None or request.get("chunked", False):
        return _TOO_LARGE if int(request["sent_bytes"]) > limit else None
    text = str(declared)
    if not (text.isascii() and text.isdigit()):
        return _BAD_LENGTH
    return _TOO_LARGE if int(text) > limit else None


def _size(request: Request) -> int:
    """The size the limit is held against."""
    declared = str(request.get("declared_length"))
    return int(declared) if declared.isascii() and declared.isdigit() else int(request["sent_bytes"])


def _wrong_status(answered: Sequence[Request]) -> Iterator[Finding]:
    wrong: dict[str, list[str]] = {}
    for request in answered:
        expected = _refusal(request) or request.get("expected_status", _LET_THROUGH)
        if request["status"] != expected:
            over = _size(request) - int(request["limit_bytes"])
            kind = "wrong_boundary" if over in (0, 1) and _refusal(request) != _BAD_LENGTH else "wrong_status"
            example = f"{_name(request)}: {request['status']}, {expected} is due, {over} bytes over the limit"
            wrong.setdefault(kind, []).append(example)
    for kind, examples in wrong.items():
        yield Finding(kind, "the status is not the one the sizes call for", len(examples), tuple(examples))


def _wrong_envelopes(answered: Sequence[Request]) -> Iterator[Finding]:
    wrong = [
        f"{_name(request)}: {problem}"
        for request in answered
        if _refusal(request) == request["status"]
        for problem in _envelope_problems(request)
    ]
    if wrong:
        yield Finding("wrong_envelope", "the body of a refusal is not the envelope", len(wrong), tuple(wrong))


def _envelope_problems(request: Request) -> Iterator[str]:
    envelope = request.get("envelope")
    error = envelope.get("error") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or envelope.get("success") is not False or not isinstance(error, dict):
        yield f"not success false with an error, but {envelope!r:.200}"
        return
    if not error.get("message"):
        yield "no message"
    if request["status"] == _BAD_LENGTH:
        if not error.get("code"):
            yield "no code"
        return
    if error.get("code") != "PAYLOAD_TOO_LARGE":
        yield f"code is {error.get('code')!r}"
    if not _is_megabytes(error.get("limit_mb"), int(request["limit_bytes"])):
        yield f"limit_mb is {error.get('limit_mb')!r}"
    size_mb = error.get("size_mb")
    if request.get("chunked", False) or request.get("declared_length") is None:
        # The server stops reading somewhere beyond the limit, and can only say how far it came.
        between = isinstance(size_mb, (int, float)) and (
            int(request["limit_bytes"]) / _MIB - _MEGABYTE_TOLERANCE
            <= size_mb
            <= int(request["sent_bytes"]) / _MIB + _MEGABYTE_TOLERANCE
        )
        if not between:
            yield f"size_mb is {size_mb!r}"
    elif not _is_megabytes(size_mb, _size(request)):
        yield f"size_mb is {size_mb!r}"


def _is_megabytes(stated: object, size_bytes: int) -> bool:
    return isinstance(stated, (int, float)) and abs(stated - size_bytes / _MIB) <= _MEGABYTE_TOLERANCE


def _connections_left_open(answered: Sequence[Request]) -> Iterator[Finding]:
    left_open = [
        _name(request)
        for request in answered
        if request["status"] in (_TOO_LARGE, _BAD_LENGTH) and request.get("connection_closed") is False
    ]
    if left_open:
        detail = "the connection stayed open after a refusal"
        yield Finding("connection_left_open", detail, len(left_open), tuple(left_open))


def _wrong_counters(history: History, requests: Sequence[Request]) -> Iterator[Finding]:
    if history.header.parameters.get("counters", True) is False:
        return
    moments = {
        operation.attributes["moment"]: operation.attributes["counters"] for operation in history.of_action("counters")
    }
    if not {"before", "after"} <= set(moments):
        yield doubt("counters_not_read", "the counters were not read before and after the requests")
        return
    wrong = []
    for name, status in ((_EXCEEDED, _TOO_LARGE), (_ERRORS, _BAD_LENGTH)):
        due = sum(_refusal(request) == status for request in requests)
        grown = moments["after"].get(name, 0) - moments["before"].get(name, 0)
        if grown != due:
            wrong.append(f"{name} grew by {grown:g}, {due} refusals were due")
    if wrong:
        yield Finding("wrong_counter", "a counter did not grow by the refusals", len(wrong), tuple(wrong))


def _wrong_labels(history: History, requests: Sequence[Request]) -> Iterator[Finding]:
    if not history.header.parameters.get("labels", False):
        return
    moments = {one.attributes["moment"]: one.attributes.get("by_label") for one in history.of_action("counters")}
    before, after = moments.get("before"), moments.get("after")
    if before is None or after is None:
        yield doubt("labels_not_read", "the counters' labels were not read before and after the requests")
        return
    due = {
        _EXCEEDED: Counter(f"{one['method']} {one['endpoint']}" for one in requests if _refusal(one) == _TOO_LARGE),
        _ERRORS: Counter(str(one.get("reason")) for one in requests if _refusal(one) == _BAD_LENGTH),
    }
    wrong = []
    for name, expected in due.items():
        for label in sorted({*expected, *after.get(name, {})}):
            grown = after.get(name, {}).get(label, 0) - before.get(name, {}).get(label, 0)
            if grown != expected[label]:
                wrong.append(f"{name} of {label!r} grew by {grown:g}, {expected[label]} refusals were due")
    if wrong:
        yield Finding("wrong_labels", "a counter did not grow by the refusals of its labels", len(wrong), tuple(wrong))


def _memory_growth(history: History) -> Iterator[Finding]:
    limit = max((int(one.attributes["limit_bytes"]) for one in history.of_action("request")), default=0)
    grown = []
    for operation in history.operations:
        first, peak = operation.attributes.get("rss_before_bytes"), operation.attributes.get("rss_peak_bytes")
        if first is not None and peak is not None and peak - first >= 2 * limit:
            grown.append(f"{operation.action}: from {first} to {peak} bytes with a limit of {limit}")
    if history.header.parameters.get("memory", False):
        unmeasured = [
            _name(one.attributes)
            for one in history.of_action("request")
            if one.attributes.get("rss_before_bytes") is None or one.attributes.get("rss_peak_bytes") is None
        ]
        if unmeasured:
            yield doubt("memory_not_read", "the server's memory was not read", len(unmeasured), tuple(unmeasured))
    if grown:
        yield Finding("memory_growth", "memory grew by twice the limit or more", len(grown), tuple(grown))


def _coverage(history: History, requests: Sequence[Request], answered: Sequence[Request]) -> Iterator[Finding]:
    silent = [_name(request) for request in requests if request.get("status") is None]
    if silent:
        yield doubt("no_answer", "no answer could be read", len(silent), tuple(silent))
    required = set(history.header.parameters.get("required_variants", ()))
    untried = sorted(required - {request.get("variant") for request in answered})
    if untried:
        yield doubt("variant_untried", "variants were not tried", len(untried), tuple(untried))


def _name(request: Request) -> str:
    return str(request.get("variant") or request.get("method", "POST"))
