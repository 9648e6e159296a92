"""The checkers of body and time limits at their own boundaries."""

from typing import Any

import pytest

from conformance.checkers import request_limits, time_limits
from conformance.checkers.verdict import Outcome, Verdict, run_checker
from conformance.history import Header, History, Operation, OperationOutcome

LIMIT_BYTES = 1_000
ENVELOPE = {"success": False, "error": {"code": "PAYLOAD_TOO_LARGE", "message": "no", "size_mb": 0.0, "limit_mb": 0.0}}


def requests(checker: str, *attributes: dict[str, Any], **parameters: object) -> History:
    operations = [Operation("api", "request", OperationOutcome.OK, 0, 1, 0, one) for one in attributes]
    return History(Header("clause", (), checker, 1, "embedded", 0, parameters), tuple(operations))


def by_size(**request: Any) -> Verdict:
    given = {"sent_bytes": 0, "limit_bytes": LIMIT_BYTES, "declared_length": None, **request}
    if given["status"] in (400, 413):
        given["envelope"] = ENVELOPE
    return run_checker(request_limits.check, requests("request_limits", given, counters=False))


@pytest.mark.parametrize(
    ("request_sent", "due"),
    [
        ({"declared_length": LIMIT_BYTES}, 200),
        ({"declared_length": str(LIMIT_BYTES)}, 200),
        ({"declared_length": LIMIT_BYTES + 1}, 413),
        ({"declared_length": LIMIT_BYTES + 1, "handler_reads": False}, 413),
        ({"declared_length": LIMIT_BYTES + 1, "method": "PUT"}, 413),
        ({"declared_length": LIMIT_BYTES + 1, "method": "get"}, 200),
        ({"declared_length": 0}, 200),
        ({"declared_length": "-1"}, 400),
        ({"declared_length": "1e3"}, 400),
        ({"declared_length": ""}, 400),
        ({"declared_length": "٣"}, 400),
        ({"chunked": True, "sent_bytes": LIMIT_BYTES}, 200),
        ({"chunked": True, "sent_bytes": LIMIT_BYTES + 1}, 413),
        ({"sent_bytes": 0}, 200),
    ],
)
def test_sizes_and_limit_alone_decide_the_status(request_sent: dict[str, Any], due: int) -> None:
    given = {status: by_size(**request_sent, status=status).outcome for status in (200, 400, 413)}
    assert given == {status: Outcome.PASS if status == due else Outcome.FAIL for status in (200, 400, 413)}


def test_a_request_let_through_has_the_status_its_handler_gives() -> None:
    assert by_size(declared_length=5, status=422, expected_status=422).outcome is Outcome.PASS
    assert by_size(declared_length=5, status=422).outcome is Outcome.FAIL


def test_the_expectation_of_the_driver_cannot_excuse_a_missing_refusal() -> None:
    verdict = by_size(declared_length=10 * LIMIT_BYTES, status=200, expected_status=200)
    assert verdict.findings[0].kind == "wrong_status"


def test_a_connection_nobody_looked_at_is_not_judged() -> None:
    over = {"declared_length": 2 * LIMIT_BYTES, "status": 413}
    assert by_size(**over, connection_closed=None).outcome is Outcome.PASS
    assert by_size(**over, connection_closed=False).findings[0].kind == "connection_left_open"


def test_a_request_nobody_described_is_unknown() -> None:
    verdict = run_checker(request_limits.check, requests("request_limits", {"status": 200}))
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "checker_crashed")


def timed(**request: Any) -> set[str]:
    stopped = {"error_code": "QUERY_TIMEOUT", "follow_up_status": 200, "active_connections_after": 0}
    given = {"limit_seconds": 2.0, **(stopped if request["status"] == 504 else {}), **request}
    long_work = {**given, **stopped, "status": 504, "duration_seconds": 2.0, "work_seconds": 60}
    history = requests("time_limits", given, long_work)
    return {finding.kind for finding in run_checker(time_limits.check, history).findings}


@pytest.mark.parametrize(
    ("limit_seconds", "duration_seconds", "expected"),
    [
        (2.0, 2.5, set()),
        (2.0, 2.501, {"late"}),
        (0.4, 0.65, set()),
        (0.4, 0.651, {"late"}),
        (2.0, 1.99, set()),
        (2.0, 1.98, {"early"}),
    ],
)
def test_a_timeout_comes_between_the_limit_and_its_tolerance(
    limit_seconds: float, duration_seconds: float, expected: set[str]
) -> None:
    history = requests(
        "time_limits",
        {
            "limit_seconds": limit_seconds,
            "duration_seconds": duration_seconds,
            "status": 504,
            "error_code": "QUERY_TIMEOUT",
            "follow_up_status": 200,
            "active_connections_after": 0,
        },
    )
    assert {finding.kind for finding in run_checker(time_limits.check, history).findings} == expected


@pytest.mark.parametrize(
    ("work_seconds", "status", "expected"),
    [
        (0.1, 200, set()),
        (0.1, 504, {"wrong_status"}),
        (60.0, 504, set()),
        (60.0, 200, {"wrong_status"}),
        (2.2, 200, set()),
        (2.2, 504, set()),
        (2.2, 500, {"wrong_status"}),
    ],
)
def test_the_length_of_the_work_decides_the_status_save_near_the_limit(
    work_seconds: float, status: int, expected: set[str]
) -> None:
    assert timed(work_seconds=work_seconds, status=status, duration_seconds=2.1) == expected


def test_work_that_was_not_shown_to_stop_is_unknown() -> None:
    assert timed(status=504, duration_seconds=2.1, active_connections_after=None) == {"pool_not_read"}


def test_another_error_code_can_be_agreed_on() -> None:
    request = {
        "limit_seconds": 1.0,
        "duration_seconds": 1.1,
        "status": 504,
        "error_code": "TOO_SLOW",
        "follow_up_status": 200,
        "active_connections_after": 0,
    }
    assert run_checker(time_limits.check, requests("t", request)).findings[0].kind == "wrong_envelope"
    assert run_checker(time_limits.check, requests("t", request, expected_code="TOO_SLOW")).outcome is Outcome.PASS


@pytest.mark.parametrize(("stall_seconds", "kinds"), [(0.0, {"late"}), (0.49, {"late"}), (0.51, set())])
def test_an_answer_is_late_unless_the_machine_itself_stood_still_for_as_long(
    stall_seconds: float, kinds: set[str]
) -> None:
    assert timed(status=504, duration_seconds=3.0, machine_stall_seconds=stall_seconds) == kinds


def test_what_the_machine_disturbed_is_no_sample() -> None:
    request = {"limit_seconds": 0.5, "status": 504, "error_code": "QUERY_TIMEOUT"}
    request |= {"follow_up_status": 200, "active_connections_after": 0}
    history = requests(
        "time_limits",
        {**request, "duration_seconds": 0.51},
        {**request, "duration_seconds": 1.5, "machine_stall_seconds": 0.9},
    )
    verdict = run_checker(time_limits.check, history)
    assert (verdict.outcome, verdict.samples) == (Outcome.PASS, 1)
    assert "1 more not judged" in verdict.reason
