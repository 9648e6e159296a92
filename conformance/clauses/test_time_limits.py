"""A query over its time limit is answered 504, and its work really stops.

Work longer than the limit MUST be answered 504 with the envelope within the limit plus a quarter of it (at least 250
ms), the query MUST be interrupted (QRY-2), its connection given back and the processor left alone, so that the next
query on the only slot MUST succeed (API-2, POOL-1). The work is real: the bulk query, a hundred wide reads of the table
in one request. Some hundred stops at a limit of half a second, and three at the limit that production has.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers import http
from conformance.drivers.bulk import feed_in_bulk
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.machine_stall import watched_machine
from conformance.drivers.process_time import processor_share
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

pytestmark = pytest.mark.alone

LIMIT_SECONDS = 0.5
REQUESTS = by_profile(smoke=12, full=200)
PROCESSOR_LOOKS = 4
STALL_SECONDS = 0.1
MOST_STALLS = 4
RECORDS = 40_000
PRODUCTION_LIMIT_SECONDS = 30.0
PRODUCTION_REQUESTS = 3
PRODUCTION_RECORDS = 1_500_000
WINDOW_MESSAGES = 8_000
HEAVY = {"queries": [{"exchange": "BINANCE", "limit": 1_000}] * 100}
SETTLE_SECONDS = 2.0
# A slot that is always busy is overload, and after ten seconds of it heavy requests would be shed, see
# docs/degradation.md; here each of them has to reach its limit.
ONE_SLOT = {"K2_QUERY__POOL_SIZE": "1", "K2_DEGRADATION__POOL_BUSY_SHARE": "{}"}
REMEDY = (
    "see k2/query/deadline.py, k2/api/request_threads.py and the handlers of QueryTimeoutError in k2/api/envelope.py"
)


@pytest.mark.clause(
    name="time_limits",
    claims=("QRY-2a", "API-2a", "API-2b", "POOL-1b"),
    checker="time_limits",
    title="A query over its limit is answered 504 in time, stops, and its only slot serves the next query",
    minimum_samples=REQUESTS,
    remedy=REMEDY,
)
def test_a_query_over_its_limit_is_stopped_and_its_slot_serves_the_next(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=12, minimum_processor_samples=PROCESSOR_LOOKS) as history:
        fill(stack, history, RECORDS)
        api_url = stack.start_api({**ONE_SLOT, "K2_API__TIME_LIMIT_SECONDS": str(LIMIT_SECONDS)})
        process_id = stack.process("api").pid
        asked = stalls = 0
        # A request during which the machine stood still may be one that cannot be judged: another is asked.
        while asked < REQUESTS + min(stalls, MOST_STALLS):
            looks = asked % (REQUESTS // PROCESSOR_LOOKS) == 0
            stall_seconds = ask_for_too_much(history, api_url, asked, LIMIT_SECONDS, process_id if looks else None)
            asked += 1
            stalls += stall_seconds > STALL_SECONDS
    clause.judge()


@pytest.mark.full_profile
@pytest.mark.timeout(1200)
@pytest.mark.clause(
    name="time_limits/production",
    claims=("QRY-2a", "API-2a", "API-2b"),
    checker="time_limits",
    title="At the limit of production, too, a query is answered 504 in time, stops, and its slot serves the next",
    minimum_samples=PRODUCTION_REQUESTS,
    remedy=REMEDY,
)
def test_a_query_over_the_limit_of_production_is_stopped(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=13, minimum_processor_samples=1) as history:
        fill(stack, history, PRODUCTION_RECORDS)
        # One slot each, so that a follow-up shows that none was kept.
        pool = {"K2_QUERY__POOL_SIZE": str(PRODUCTION_REQUESTS), "K2_QUERY__THREADS": "1"}
        api_url = stack.start_api(pool)
        process_id = stack.process("api").pid
        with ThreadPoolExecutor(PRODUCTION_REQUESTS, thread_name_prefix="client") as clients:
            asked = [
                clients.submit(
                    ask_for_too_much,
                    history,
                    api_url,
                    number,
                    PRODUCTION_LIMIT_SECONDS,
                    # After the others have asked their follow-ups, which are work as well.
                    process_id if number == 0 else None,
                )
                for number in range(PRODUCTION_REQUESTS)
            ]
            for future in asked:
                future.result()
    clause.judge()


def fill(stack: Stack, history: HistoryWriter, records: int) -> None:
    """Bring trades into the table, and stop the consumer."""
    stack.start_consumer("trades")
    fed = feed_in_bulk(
        stack, SyntheticExchange(SyntheticSettings(seed=12, records=records, trade_share=1.0)), WINDOW_MESSAGES
    )
    wait_until_drained(stack, history, fed.ends())
    stack.process("consumer-trades").stop()


def ask_for_too_much(
    history: HistoryWriter, api_url: str, number: int, limit_seconds: float, process_id: int | None
) -> float:
    """One heavy request, then a light one on the same slot; a process is looked at where one is given.

    Returns:
        For how many seconds at most the machine stood still while the heavy one was answered.
    """
    attributes = {"variant": f"bulk {number}", "limit_seconds": limit_seconds}
    with history.invoke("api", "request", attributes) as invocation:
        with watched_machine() as stall:
            started = time.monotonic()
            answer = http.post(f"{api_url}/v1/trades/query", HEAVY)
            duration_seconds = time.monotonic() - started
        follow_up = http.get(f"{api_url}/v1/trades", {"symbol": "BTCUSDT", "limit": 1})
        invocation.attributes |= {
            "duration_seconds": duration_seconds,
            "machine_stall_seconds": stall.longest_seconds,
            "status": answer.status,
            "error_code": answer.body.get("error", {}).get("code") if isinstance(answer.body, dict) else None,
            "follow_up_status": follow_up.status,
            "active_connections_after": active_connections(api_url),
            "processor_share_after": None if process_id is None else settled_share(process_id),
        }
    return stall.longest_seconds


def settled_share(process_id: int) -> float:
    """Cores in use once what was begun had a moment to end."""
    time.sleep(0.1)
    return processor_share(process_id, 0.3)


def active_connections(api_url: str) -> float:
    """Connections in use once they had time to come back."""
    give_up_at = time.monotonic() + SETTLE_SECONDS
    while True:
        active = http.metric(http.get(f"{api_url}/metrics").body, "k2_connection_pool_active_connections", {})
        if active == 0 or time.monotonic() > give_up_at:
            return active
        time.sleep(0.02)
