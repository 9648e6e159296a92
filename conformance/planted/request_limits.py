"""What the checker of body limits must catch."""

from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes, with_parameters

_MIB = 1024 * 1024
_LIMIT = 10 * _MIB
_EXCEEDED, _ERRORS = "http_request_size_limit_exceeded_total", "http_request_size_limit_errors_total"


def clean_request_limits(seed: int) -> History:
    """Every way to send a body, around a limit of 10 MiB, answered as it should be."""
    random = np.random.default_rng(seed)
    requests = _requests(random)
    before = {_EXCEEDED: float(random.integers(0, 50)), _ERRORS: 0.0}
    after = {
        _EXCEEDED: before[_EXCEEDED] + sum(request["status"] == 413 for request in requests),
        _ERRORS: float(sum(request["status"] == 400 for request in requests)),
    }
    rss_bytes = 200 * _MIB
    for request in requests:
        request |= {"endpoint": "/v1/thing", "rss_before_bytes": rss_bytes, "rss_peak_bytes": rss_bytes + _LIMIT}
    label = "POST /v1/thing"
    labels_before = {_EXCEEDED: {label: before[_EXCEEDED]}, _ERRORS: {}}
    labels_after = {_EXCEEDED: {label: after[_EXCEEDED]}, _ERRORS: {"not_a_number": after[_ERRORS]}}
    events = [
        operation("api", "counters", START_NS, {"moment": "before", "counters": before, "by_label": labels_before}),
        *(
            operation("api", "request", START_NS + number * SECOND_NS, request)
            for number, request in enumerate(requests, start=1)
        ),
        operation(
            "api",
            "counters",
            START_NS + 100 * SECOND_NS,
            {"moment": "after", "counters": after, "by_label": labels_after},
        ),
        operation(
            "api",
            "memory",
            START_NS + 101 * SECOND_NS,
            {"rss_before_bytes": rss_bytes, "rss_peak_bytes": rss_bytes + _LIMIT},
        ),
    ]
    variants = [request["variant"] for request in requests]
    header = Header(
        "planted/request_limits",
        (),
        "request_limits",
        seed,
        "embedded",
        START_NS,
        {"required_variants": variants, "minimum_samples": len(requests), "labels": True, "memory": True},
    )
    return History(header, tuple(events))


def _requests(random: np.random.Generator) -> list[dict[str, Any]]:
    large = int(random.integers(2, 9)) * _LIMIT
    small = int(random.integers(1, _LIMIT))
    return [
        _declared("empty", 0),
        _declared("small", small),
        _declared("exactly_the_limit", _LIMIT),
        _declared("one_byte_over", _LIMIT + 1),
        _declared("far_over", large, sent_bytes=0),
        _declared("unread_by_handler", large, sent_bytes=0, handler_reads=False),
        _chunked("chunked_small", small),
        _chunked("chunked_exactly_the_limit", _LIMIT),
        _chunked("chunked_one_byte_over", _LIMIT + 1),
        _chunked("chunked_unread_by_handler", large, handler_reads=False),
        {**_declared("get_is_skipped", large, sent_bytes=0), "method": "GET", "status": 200, "envelope": None},
        _invalid("not_a_number", "ten"),
        _invalid("negative", "-1"),
        _invalid("exponent", "1e3"),
        {**_declared("nothing_said_of_a_body", 0), "declared_length": None, "framing": "none", "sent_bytes": large},
        {**_declared("more_than_declared", 2), "sent_bytes": large},
        {**_declared("unprocessable", 2), "status": 422, "expected_status": 422},
    ]


def _request(variant: str, size: int, sent_bytes: int, handler_reads: bool) -> dict[str, Any]:
    refused = size > _LIMIT
    return {
        "variant": variant,
        "method": "POST",
        "declared_length": None,
        "chunked": False,
        "sent_bytes": sent_bytes,
        "limit_bytes": _LIMIT,
        "handler_reads": handler_reads,
        "status": 413 if refused else 200,
        "envelope": _envelope("PAYLOAD_TOO_LARGE", size_mb=round(size / _MIB, 2), limit_mb=10.0) if refused else None,
        "connection_closed": True if refused else None,
    }


def _declared(variant: str, size: int, sent_bytes: int | None = None, handler_reads: bool = True) -> dict[str, Any]:
    sent = size if sent_bytes is None else sent_bytes
    return {**_request(variant, size, sent, handler_reads), "declared_length": size}


def _chunked(variant: str, size: int, handler_reads: bool = True) -> dict[str, Any]:
    """The server stops reading soon after the limit, and says how far it came."""
    request = {**_request(variant, size, size, handler_reads), "chunked": True}
    if request["envelope"]:
        request["envelope"]["error"]["size_mb"] = round(min(size, _LIMIT + 65_536) / _MIB, 2)
    return request


def _invalid(variant: str, declared_length: str) -> dict[str, Any]:
    return {
        **_request(variant, 0, 0, handler_reads=True),
        "declared_length": declared_length,
        "status": 400,
        "reason": "not_a_number",
        "connection_closed": True,
        "envelope": _envelope("INVALID_CONTENT_LENGTH"),
    }


def _envelope(code: str, **details: float) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": "the body cannot be accepted", **details}}


def _answered(variant: str, **changed: object) -> Plant:
    return lambda history: edit_operations(history, "request", lambda one: with_attributes(one, changed), variant)


def _error_changed(variant: str, **changed: object) -> Plant:
    def edit(history: History) -> History:
        return edit_operations(
            history,
            "request",
            lambda one: with_attributes(
                one,
                {"envelope": {"success": False, "error": {**one.attributes["envelope"]["error"], **changed}}},
            ),
            variant,
        )

    return edit


def _counted(name: str, by: int) -> Plant:
    def edit(history: History) -> History:
        def more(counters: dict[str, float]) -> dict[str, Any]:
            return {"counters": {**counters, name: counters[name] + by}}

        return edit_operations(
            history,
            "counters",
            lambda one: (
                with_attributes(one, more(one.attributes["counters"])) if one.attributes["moment"] == "after" else one
            ),
        )

    return edit


def _without_labels(history: History) -> History:
    return edit_operations(history, "counters", lambda one: with_attributes(one, {"by_label": None}))


def _memory_doubled(history: History) -> History:
    return edit_operations(
        history,
        "memory",
        lambda one: with_attributes(one, {"rss_peak_bytes": one.attributes["rss_before_bytes"] + 2 * _LIMIT}),
    )


_REFUSED = {"status": 413, "envelope": _envelope("PAYLOAD_TOO_LARGE", size_mb=10.0, limit_mb=10.0)}
SUITE = Suite(
    "request_limits",
    clean_request_limits,
    (
        Defect("boundary_refused", "wrong_boundary", _answered("exactly_the_limit", **_REFUSED)),
        Defect("boundary_passed", "wrong_boundary", _answered("one_byte_over", status=200, envelope=None)),
        Defect("chunked_boundary_refused", "wrong_boundary", _answered("chunked_exactly_the_limit", **_REFUSED)),
        Defect("large_body_accepted", "wrong_status", _answered("far_over", status=200, envelope=None)),
        Defect(
            "unread_chunks_accepted", "wrong_status", _answered("chunked_unread_by_handler", status=200, envelope=None)
        ),
        Defect("get_refused", "wrong_status", _answered("get_is_skipped", **_REFUSED)),
        Defect("negative_length_crashes", "wrong_status", _answered("negative", status=500, envelope=None)),
        Defect("error_code_changed", "wrong_envelope", _error_changed("far_over", code="TOO_LARGE")),
        Defect("limit_in_bytes", "wrong_envelope", _error_changed("one_byte_over", limit_mb=_LIMIT)),
        Defect("envelope_missing", "wrong_envelope", _answered("far_over", envelope="Payload Too Large")),
        Defect("bad_length_without_a_body", "wrong_envelope", _answered("exponent", envelope="")),
        Defect("connection_kept_open", "connection_left_open", _answered("far_over", connection_closed=False)),
        Defect("rejection_counted_twice", "wrong_counter", _counted(_EXCEEDED, 1)),
        Defect("bad_length_not_counted", "wrong_counter", _counted(_ERRORS, -1)),
        Defect("bad_length_left_open", "connection_left_open", _answered("exponent", connection_closed=False)),
        Defect("unannounced_bytes_refused", "wrong_status", _answered("nothing_said_of_a_body", **_REFUSED)),
        Defect("bytes_beyond_the_length_counted", "wrong_status", _answered("more_than_declared", **_REFUSED)),
        Defect("counted_under_another_route", "wrong_labels", _answered("far_over", endpoint="/v1/other")),
        Defect("counted_under_another_reason", "wrong_labels", _answered("negative", reason="negative")),
        Defect("labels_not_read", "labels_not_read", _without_labels, Outcome.UNKNOWN),
        Defect("memory_not_read", "memory_not_read", _answered("small", rss_peak_bytes=None), Outcome.UNKNOWN),
        Defect("one_body_kept_twice", "memory_growth", _answered("far_over", rss_peak_bytes=220 * _MIB)),
        Defect("body_kept_in_memory", "memory_growth", _memory_doubled),
        Defect("no_answer_read", "no_answer", _answered("small", status=None), Outcome.UNKNOWN),
        Defect(
            "counters_not_read",
            "counters_not_read",
            lambda one: edit_operations(one, "counters", lambda _: None),
            Outcome.UNKNOWN,
        ),
        Defect(
            "variant_never_sent",
            "variant_untried",
            lambda one: with_parameters(one, required_variants=["two_lengths"]),
            Outcome.UNKNOWN,
        ),
    ),
)
