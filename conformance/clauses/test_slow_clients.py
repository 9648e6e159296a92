"""Clients that take their time do not take the service's.

Five hundred sockets that send heads or bodies byte by byte, or nothing at all, or stay after an answer, and some that
read a long answer drop by drop, MUST each be given up within ten seconds by a server with the settings of production
(API-5); meanwhile a good client MUST be answered, at the 99th percentile in at most twice the time it takes without
them. All of them are real sockets, open at the same time, in a process of their own.
"""

import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.bulk import feed_in_bulk
from conformance.drivers.feeding import wait_until_drained
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

pytestmark = pytest.mark.alone

CLIENTS = {
    "silent": 80,
    "idle": 80,
    "empty_lines": 80,
    "slow_head": 90,
    "slow_body": 90,
    "slow_chunks": 80,
    "slow_reader": 10,
}
WAITING_KINDS = ("silent", "idle")
LIMIT_SECONDS = 10.0
GIVE_UP_SECONDS = 13.0
# Short questions for a few seconds: a 99th percentile of a hundred answers is the second slowest, which is chance.
ALONE_SECONDS = 2.5
AMONG_SECONDS = 5.0
MINIMUM_REQUESTS = 150
# What it may take until there are so many; the slow ones must still be there then.
LONGEST_ALONE_SECONDS = 10.0
LONGEST_AMONG_SECONDS = 6.5
RECORDS = 12_000
WINDOW_MESSAGES = 8_000


@pytest.mark.clause(
    name="slow_clients",
    claims=("API-5a",),
    checker="slow_clients",
    title="510 slow sockets are each given up within 10 s, and a good client hardly notices them",
    minimum_samples=sum(CLIENTS.values()),
    remedy="see k2/api/protocol.py, k2/api/bounded_transport.py and k2/api/body_limit.py",
)
def test_slow_clients_are_given_up_and_good_ones_hardly_notice(stack: Stack, clause: ClauseRun) -> None:
    plan = {
        "limit_seconds": LIMIT_SECONDS,
        "clients": CLIENTS,
        "waiting_kinds": WAITING_KINDS,
        "minimum_requests": MINIMUM_REQUESTS,
    }
    with clause.history(seed=15, **plan) as history:
        stack.start_consumer("trades")
        settings = SyntheticSettings(seed=15, records=RECORDS, trade_share=1.0)
        wait_until_drained(stack, history, feed_in_bulk(stack, SyntheticExchange(settings), WINDOW_MESSAGES).ends())
        stack.process("consumer-trades").stop()
        api_url = stack.start_api()
        for _ in range(20):
            ask(api_url)
        measure(history, api_url, "alone", ALONE_SECONDS, LONGEST_ALONE_SECONDS)
        among_slow_clients(
            history,
            api_url,
            lambda there: measure(history, api_url, "among", AMONG_SECONDS, LONGEST_AMONG_SECONDS, there),
        )
        measure(history, api_url, "alone", ALONE_SECONDS, LONGEST_ALONE_SECONDS)
    clause.note(clause.judge().reason)


def among_slow_clients(history: HistoryWriter, api_url: str, meanwhile: Callable[[int], None]) -> None:
    """Do something while all slow clients are there, then record what became of each."""
    arguments = {
        "port": urllib.parse.urlparse(api_url).port,
        "clients": CLIENTS,
        "give_up_seconds": GIVE_UP_SECONDS,
    }
    command = [sys.executable, "-m", "conformance.drivers.slow_clients", json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdout is not None
        meanwhile(int(json.loads(crowd.stdout.readline())["open"]))
        for line in crowd.stdout:
            history.operation("api", "slow_client", "ok", attributes=json.loads(line))


def measure(
    history: HistoryWriter,
    api_url: str,
    moment: str,
    for_seconds: float,
    longest_seconds: float,
    open_connections: int | None = None,
) -> None:
    """Ask again and again, each time on a connection of its own, and record how long each answer took."""
    milliseconds: list[float] = []
    statuses: set[int] = set()
    began = time.monotonic()
    until, give_up_at = began + for_seconds, began + longest_seconds
    # On a busy machine it takes longer until there are enough of them.
    while (started := time.monotonic()) < until or (len(milliseconds) < MINIMUM_REQUESTS and started < give_up_at):
        statuses.add(ask(api_url))
        milliseconds.append(round((time.monotonic() - started) * 1_000, 3))
    seen = {} if open_connections is None else {"open_connections": open_connections}
    attributes = {"moment": moment, "milliseconds": milliseconds, "statuses": sorted(statuses), **seen}
    history.operation("api", "good_client", "ok", attributes=attributes)


def ask(api_url: str) -> int:
    """The status of a small query."""
    return http.get(f"{api_url}/v1/trades", {"symbol": "BTCUSDT", "exchange": "BINANCE", "limit": 10}).status
