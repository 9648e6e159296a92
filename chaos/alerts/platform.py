"""The platform at work that alerts are about: a feed, two consumers, an API, and people who ask it without end.

K2's own waits do not follow from the alerts' scale, so those that stand between a fault and its metric are set shorter
here: a breaker that is tried every ten seconds has one call in a window of ten, an object store that is silent is
given up after 30 s, and /metrics, which Prometheus waits for as long as there is until it asks again, may wait for
the tables for two.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from conformance.drivers import http
from conformance.stacks.base import PowerMissingError
from conformance.stacks.containers.stack import ContainerStack
from conformance.stacks.small_disk import SmallDisk
from k2.embedded.processes import ChildProcess

RECORDS_PER_SECOND = 500.0
"""Half of them trades, half quotes: without a table 10,000 of each wait after 40 s, when ConsumerLagGrowing, which
ConsumerLagCritical silences, has been heard."""
SEED = 4_300
DISK_BYTES = 32 << 20
ASK_SECONDS = 1.0
_CLEAN = ("--gap-rate", "0", "--duplicate-rate", "0", "--reorder-rate", "0", "--window", "0")
_HURRIED = {
    "K2_BREAKER__OPEN_SECONDS": "1",
    "K2_DEGRADATION__HOLD_SECONDS": "1",
    "K2_DEGRADATION__WINDOW_SECONDS": "1",
    # Each request is tried three times.
    "K2_STORAGE__S3_CONNECT_TIMEOUT_SECONDS": "1",
    "K2_STORAGE__S3_REQUEST_TIMEOUT_SECONDS": "1",
    "K2_API__CHECK_TIMEOUT_SECONDS": "0.2",
    # Each look at a table reads of them all, and here there are thirty times as many looks.
    "K2_STORAGE__SNAPSHOTS_KEPT": "20",
    "K2_STORAGE__SNAPSHOT_HOURS_KEPT": "0",
}
_PATIENT = {
    **_HURRIED,
    # A supervisor that starts a consumer again is a fault of its own here.
    "K2_RETRY__ATTEMPTS": "1000",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.1",
    "K2_RETRY__LONGEST_WAIT_SECONDS": "0.5",
    "K2_CONSUMER__BATCH_SECONDS": "1",
}
# What it cannot send it counts and drops, so that it is still there when the brokers are.
_SHEDDING = {**_HURRIED, "K2_PRODUCER__OVERLOAD_POLICY": "shed", "K2_KAFKA__DELIVERY_TIMEOUT_MS": "2000"}
_QUESTION = "/v1/{data_type}?symbol=BTCUSDT&start_time={start_ns}&end_time={end_ns}&limit=10"
"""Of one symbol within an hour, which no level but the last refuses."""
_ASKED_BACK_NS = 600 * 10**9
_MOST_AT_ONCE = 60


class AlertPlatform:
    """Its processes; a context manager on a stack that was started.

    Args:
        stack: of this alone.
        directory: for logs of what was planted, and for the small disk.
    """

    def __init__(self, stack: ContainerStack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.api_url = ""
        self.ask_seconds = ASK_SECONDS
        """Between two questions."""
        self.disk: SmallDisk | None = SmallDisk(directory / "letters", DISK_BYTES)
        """That of the dead letters; None where this user may not mount one."""
        self._healed = contextlib.ExitStack()
        self._feeds = 0
        self._ending = threading.Event()
        self._asking = threading.Thread(target=self._ask_on, name="questions", daemon=True)

    def start_consumer(self, data_type: str) -> ChildProcess:
        """Start one, beside those there are."""
        environment = dict(_PATIENT)
        if self.disk is not None and data_type == "trades":
            environment["K2_DEAD_LETTERS__DIRECTORY"] = str(self.disk.folder)
        return self.stack.start_consumer(data_type, environment=environment)

    def start_feed(self, *options: str) -> None:
        """Start the feed, with other options in place of those of a clean one."""
        self._feeds += 1
        chosen = options or _CLEAN
        self.stack.start_feed(RECORDS_PER_SECOND, SEED + self._feeds, *chosen, environment=_SHEDDING)

    def stop_feed(self) -> None:
        """End the feed, and with it all that Prometheus knows of it."""
        self.stack.retire(self.stack.process("feed"))

    def start_api(self, environment: Mapping[str, str] | None = None) -> str:
        """Start an API; returns its address."""
        return self.stack.start_api({**_HURRIED, **(environment or {})})

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as healed:
            if self.disk is not None:
                try:
                    healed.enter_context(self.disk)
                except PowerMissingError:
                    self.disk = None
            self.start_consumer("trades")
            self.start_consumer("quotes")
            self.api_url = self.start_api()
            self.start_feed()
            self._asking.start()
            self._healed = healed.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._asking.join()
        self._healed.close()

    def _ask_on(self) -> None:
        """Ask at a steady pace whatever becomes of the questions before, as strangers do."""
        data_types = _alternating("trades", "quotes")
        asked: list[threading.Thread] = []
        while not self._ending.wait(self.ask_seconds):
            asked = [thread for thread in asked if thread.is_alive()]
            if len(asked) < _MOST_AT_ONCE:
                now_ns = time.time_ns()
                times = {"start_ns": now_ns - _ASKED_BACK_NS, "end_ns": now_ns}
                url = self.api_url + _QUESTION.format(data_type=next(data_types), **times)
                asked.append(threading.Thread(target=_ask, args=(url,), name="question", daemon=True))
                asked[-1].start()


def _ask(url: str) -> None:
    # What becomes of it is seen in the API's own metrics, and that there is no API by Prometheus.
    with contextlib.suppress(OSError):
        http.get(url)


def _alternating(*names: str) -> Iterator[str]:
    while True:
        yield from names
