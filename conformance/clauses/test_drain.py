"""Health tells live from ready, and a process that is told to stop drains.

While the catalog does not answer, the API MUST say that it lives and is not ready, with its level, and MUST answer
queries in time although planning them hangs (API-1e, API-2). Told to stop, it MUST be not ready first while it still
serves, then take no new connections, MUST answer what it has in hand, and MUST end by itself within its bound.
"""

import threading
import time
import urllib.parse
from signal import SIGTERM

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.bulk import feed_in_bulk
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.outages import outage
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

LIMIT_SECONDS = 1.0
# Four times the tolerance of a machine that has nothing else to do.
IN_TIME_SECONDS = 1.0
NOTICE_SECONDS = 1.5
RECORDS = 20_000
WINDOW_MESSAGES = 8_000
HEAVY = {"queries": [{"limit": 1_000}] * 30}
STOP_SECONDS = 40


@pytest.mark.clause(
    name="health",
    claims=("API-1e",),
    checker="facts",
    title="Health tells live from ready and gives the level; queries that cannot even be planned are answered in time",
    minimum_samples=10,
    remedy="see k2/api/status.py and k2/api/request_threads.py",
)
def test_health_tells_live_from_ready(stack: Stack, clause: ClauseRun) -> None:
    api_url = stack.start_api({"K2_API__TIME_LIMIT_SECONDS": str(LIMIT_SECONDS)})
    with clause.history() as history:
        record_fact(history, "health", [200, True, True, "NOMINAL"], health, api_url)
        with outage(stack, history, Outage.CATALOG_LOCKED):
            record_fact(history, "a query that cannot be planned", [504, "QUERY_TIMEOUT"], query, api_url)
            record_fact(history, "it was answered in time", True, is_answered_in_time, api_url)
            record_fact(history, "threads left behind", True, lambda: abandoned_threads(api_url) >= 1)
            record_fact(history, "health without the catalog", [503, True, False, "NOMINAL"], health, api_url)
        record_fact(history, "threads left behind once it is back", 0.0, threads_in_the_end, api_url)
        record_fact(history, "health once it is back", [200, True, True, "NOMINAL"], health, api_url)
        record_fact(history, "a query once it is back", [200, None], query, api_url)
        record_fact(history, "the process lives", None, stack.process("api").returncode)
        record_fact(history, "connections of the pool in use", 0.0, active_connections, api_url)
    clause.judge()


@pytest.mark.clause(
    name="drain",
    claims=("API-1e",),
    checker="facts",
    title="Told to stop, the API is not ready first, then takes nothing new, answers what it has, and ends",
    minimum_samples=9,
    remedy="see k2/api/server.py and k2/api/draining.py",
)
def test_a_process_that_is_told_to_stop_drains(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=17) as history:
        stack.start_consumer("trades")
        settings = SyntheticSettings(seed=17, records=RECORDS, trade_share=1.0)
        wait_until_drained(stack, history, feed_in_bulk(stack, SyntheticExchange(settings), WINDOW_MESSAGES).ends())
        api_url = stack.start_api({"K2_API__DRAIN_NOTICE_SECONDS": str(NOTICE_SECONDS)})
        record_fact(history, "health before", [200, True, True, "NOMINAL"], health, api_url)
        drain(history, stack, api_url)
    clause.judge()


def drain(history: HistoryWriter, stack: Stack, api_url: str) -> None:
    """Tell it to stop while requests are in hand, and look at it until it is gone."""
    process = stack.process("api")
    answers: list[http.Answer] = []
    told_at = time.monotonic()
    process.signal(SIGTERM)
    record_fact(history, "health after", [503, True, False, "NOMINAL"], health_once_not_ready, api_url)
    record_fact(history, "a query in the meantime", [200, None], query, api_url)
    record_fact(history, "its connection is not kept", "close", lambda: connection_header(api_url))
    # In hand when the listener closes: asked for just before, and longer than what is left of the notice.
    time.sleep(max(0.0, told_at + NOTICE_SECONDS - 0.3 - time.monotonic()))
    asking = [
        threading.Thread(target=lambda: answers.append(http.post(f"{api_url}/v1/trades/query", HEAVY)))
        for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    record_fact(history, "new connections in the end", "refused", once_refused, api_url)
    refused_at = time.monotonic()
    record_fact(history, "requests were in hand when it refused", True, lambda: any(t.is_alive() for t in asking))
    for thread in asking:
        thread.join(STOP_SECONDS)
    record_fact(history, "what was in hand", [200] * len(asking), lambda: [answer.status for answer in answers])
    record_fact(history, "exit status", 0, process.wait, STOP_SECONDS)
    record_fact(history, "refused after the notice", True, lambda: refused_at - told_at >= NOTICE_SECONDS - 0.1)


def health(api_url: str) -> list[object]:
    """Status, live, ready and level."""
    answer = http.get(f"{api_url}/health")
    return [answer.status, *(answer.body[name] for name in ("live", "ready", "degradation_level"))]


def health_once_not_ready(api_url: str) -> list[object]:
    """The first health that is not 200, within a second."""
    give_up_at = time.monotonic() + 1.0
    while (seen := health(api_url))[0] == 200 and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return seen


def query(api_url: str) -> list[object]:
    """Status and error code of a small query."""
    answer = http.get(f"{api_url}/v1/trades", {"limit": 1})
    return [answer.status, answer.body.get("error", {}).get("code")]


def is_answered_in_time(api_url: str) -> bool:
    """Whether the query's answer comes within its limit, and what is added for a busy machine."""
    started = time.monotonic()
    query(api_url)
    return time.monotonic() - started < LIMIT_SECONDS + IN_TIME_SECONDS


def connection_header(api_url: str) -> str | None:
    """What the answer says of its connection."""
    headers = http.get(f"{api_url}/v1/symbols", {"data_type": "trades"}).headers
    return {name.lower(): value for name, value in headers.items()}.get("connection")


def once_refused(api_url: str) -> str:
    """What becomes of new connections, looked at until they are refused."""
    address = urllib.parse.urlparse(api_url)
    give_up_at = time.monotonic() + STOP_SECONDS
    while time.monotonic() < give_up_at:
        if http.is_refused(address.hostname or "", address.port or 0):
            return "refused"
        time.sleep(0.01)
    return "accepted"


def abandoned_threads(api_url: str) -> float:
    """Threads that nobody waits for."""
    return http.metric(http.get(f"{api_url}/metrics").body, "k2_api_abandoned_threads", {})


def threads_in_the_end(api_url: str) -> float:
    """The same, once they had ten seconds to end."""
    give_up_at = time.monotonic() + 10
    while (left := abandoned_threads(api_url)) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return left


def active_connections(api_url: str) -> float:
    """Connections of the pool in use."""
    return http.metric(http.get(f"{api_url}/metrics").body, "k2_connection_pool_active_connections", {})
