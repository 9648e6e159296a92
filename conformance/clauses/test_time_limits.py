"""A query over its time limit is answered 504, and its work really stops.

Work longer than the limit MUST be answered 504 with the envelope within the limit plus a quarter of it (at least 250
ms), the query MUST be interrupted (QRY-2) and its connection given back, so that the next query on the only slot MUST
succeed (API-2, POOL-1). The work is real: the bulk query, a hundred wide reads of the table in one request.
"""

import time

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.history import HistoryWriter
from conformance.stacks.embedded import EmbeddedStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

pytestmark = pytest.mark.alone

LIMIT_SECONDS = 0.25
REQUESTS = 20
RECORDS = 60_000
HEAVY = {"queries": [{"exchange": "BINANCE", "limit": 100}] * 100}
ENVIRONMENT = {"K2_API__TIME_LIMIT_SECONDS": str(LIMIT_SECONDS), "K2_QUERY__POOL_SIZE": "1"}
SETTLE_SECONDS = 2.0


@pytest.mark.clause(
    name="time_limits",
    claims=("QRY-2a", "API-2a", "API-2b", "POOL-1b"),
    checker="time_limits",
    title="A query over its limit is answered 504 in time, stops, and its only slot serves the next query",
    minimum_samples=REQUESTS,
    remedy="see k2/query/deadline.py and the handlers of QueryTimeoutError in k2/api/envelope.py",
)
def test_a_query_over_its_limit_is_stopped_and_its_slot_serves_the_next(
    stack: EmbeddedStack, clause: ClauseRun
) -> None:
    with clause.history(seed=12) as history:
        stack.start_consumer("trades")
        fed = feed_records(
            stack, SyntheticExchange(SyntheticSettings(seed=12, records=RECORDS, trade_share=1.0)), 8_000
        )
        wait_until_drained(stack, history, fed.acknowledged_ends())
        stack.process("consumer-trades").stop()
        api_url = stack.start_api(ENVIRONMENT)
        for number in range(REQUESTS):
            ask_for_too_much(history, api_url, number)
    clause.judge()


def ask_for_too_much(history: HistoryWriter, api_url: str, number: int) -> None:
    """One heavy request, then a light one on the same slot."""
    attributes = {"variant": f"bulk {number}", "limit_seconds": LIMIT_SECONDS}
    with history.invoke("api", "request", attributes) as invocation:
        started = time.monotonic()
        answer = http.post(f"{api_url}/v1/trades/query", HEAVY)
        duration_seconds = time.monotonic() - started
        follow_up = http.get(f"{api_url}/v1/trades", {"symbol": "BTCUSDT", "limit": 1})
        invocation.attributes |= {
            "duration_seconds": duration_seconds,
            "status": answer.status,
            "error_code": answer.body.get("error", {}).get("code") if isinstance(answer.body, dict) else None,
            "follow_up_status": follow_up.status,
            "active_connections_after": active_connections(api_url),
        }


def active_connections(api_url: str) -> float:
    """Connections in use once they had time to come back."""
    give_up_at = time.monotonic() + SETTLE_SECONDS
    while True:
        active = http.metric(http.get(f"{api_url}/metrics").body, "k2_connection_pool_active_connections", {})
        if active == 0 or time.monotonic() > give_up_at:
            return active
        time.sleep(0.02)
