"""A platform at work on a bad day: records, requests, and everything dashboards speak of happening to it.

Feed, three consumers and an API have load. Poison, gaps and duplicates are among the records; the object store and the
brokers are away for a while; a second API has so little memory and time that it sheds and interrupts queries.
"""

import contextlib
import threading
import time
import urllib.error
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from conformance.drivers import http
from conformance.drivers.silence import METRICS, metrics_url
from conformance.stacks.base import Outage, Stack

DATA_TYPES = ("trades", "quotes", "reference_data")
SEED = 96
RATE_PER_SECOND = 150.0
STORE_AWAY_SECONDS, BROKERS_AWAY_SECONDS = 4.0, 6.0
_PLANTED = ("--gap-rate", "0.01", "--duplicate-rate", "0.02", "--bad-rate", "0.02", "--reference-data")
_PATIENT = {
    **METRICS,
    "K2_RETRY__ATTEMPTS": "60",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.2",
    "K2_RETRY__LONGEST_WAIT_SECONDS": "0.5",
}
# What it cannot send it counts and drops, so that it is still there when the brokers are.
_SHEDDING = {
    "K2_PRODUCER__METRICS_PORT": "0",
    "K2_PRODUCER__OVERLOAD_POLICY": "shed",
    "K2_KAFKA__DELIVERY_TIMEOUT_MS": "2000",
}
_STRAINED = {
    "K2_API__TIME_LIMIT_SECONDS": "0.02",
    "K2_DEGRADATION__MEMORY_SHARE": '{"degraded": [0.00002, 0.00001]}',
}
_QUESTIONS = (
    "/v1/trades?symbol=BTCUSDT&limit=100",
    "/v1/quotes?symbol=ETHUSDT&limit=100",
    "/v1/reference?symbol=BTCUSDT",
    "/v1/symbols?data_type=trades",
    "/v1/gaps?data_type=trades&symbol=BTCUSDT",
    "/v1/trades?limit=5000",
    "/health",
)
_PAUSE_SECONDS = 0.05
_BULK = "/v1/trades/query"
_BAD_LENGTHS = ("99999999999", "many")


@dataclass(frozen=True, slots=True)
class BusyPlatform:
    """Where its processes are asked.

    Attributes:
        api_url: of the API that has what it needs.
        strained_url: of the one that has not.
        metrics_urls: of every process, by what it is: "feed", "trades", "api".
    """

    api_url: str
    strained_url: str
    metrics_urls: Mapping[str, str]


@contextmanager
def busy_platform(stack: Stack) -> Iterator[BusyPlatform]:
    """Start it, and ask its APIs without pause for as long as the block lasts."""
    consumers = {name: stack.start_consumer(name, environment=_PATIENT) for name in DATA_TYPES}
    urls = {name: metrics_url(consumer) for name, consumer in consumers.items()}
    api, strained = stack.start_api(), stack.start_api(_STRAINED)
    urls["feed"] = metrics_url(stack.start_feed(RATE_PER_SECOND, SEED, *_PLANTED, environment=_SHEDDING))
    platform = BusyPlatform(api, strained, {**urls, "api": f"{api}/metrics"})
    with _asked_all_the_time((api, strained)):
        yield platform


def bring_trouble(stack: Stack, platform: BusyPlatform) -> None:
    """Object store and brokers go away and come back, and a client sends lengths no API takes."""
    with stack.outage(Outage.WAREHOUSE_AWAY):
        time.sleep(STORE_AWAY_SECONDS)
    with stack.outage(Outage.BROKER_DOWN):
        time.sleep(BROKERS_AWAY_SECONDS)
    for length in _BAD_LENGTHS:
        head = [f"POST {_BULK} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
        http.raw_request(platform.api_url, head, ())


@contextmanager
def _asked_all_the_time(urls: Sequence[str]) -> Iterator[None]:
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            for url in urls:
                for question in _QUESTIONS:
                    # An API that gives no answer is seen in its own metrics.
                    with contextlib.suppress(urllib.error.URLError, OSError):
                        http.get(url + question)
                    stopping.wait(_PAUSE_SECONDS)

    thread = threading.Thread(target=ask, name="questions")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
