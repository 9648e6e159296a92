"""What runs while faults come: a feed of trades, the consumer that takes them in, and callers.

The feed runs in this process, so that its counts are known at once; it uses K2's own producer. A record that the broker
does not take for too long is shed and counted, as `overload_policy` says, and promised nothing. The consumer is kept
running as a supervisor keeps it, and each time that it ended by itself is counted.
"""

import contextlib
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from chaos.faults.fault import Counts
from chaos.scenarios.callers import QUERY, REGISTER, Callers, querying, registering
from chaos.scenarios.table import WorkloadSpec
from conformance.drivers.bulk import FedColumns
from conformance.drivers.table_view import SnapshotFollower
from conformance.stacks.base import CutPlan, PowerMissingError, SignalPlan, Stack
from conformance.stacks.containers.addresses import REDIS_USER
from conformance.stacks.containers.stack import ContainerStack
from k2.assembly.feeding import build_producer
from k2.clock import SystemClock
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.feeds.pacing import at_rate
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.feed_runner import run_feed
from k2.ingestion.producer import Delivery
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.settings import Settings, StorageSettings

PATIENT = {
    # A supervisor's restart after two seconds would hide whether a process bears an outage.
    "K2_RETRY__ATTEMPTS": "60",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.1",
    "K2_RETRY__LONGEST_WAIT_SECONDS": "0.5",
    "K2_BREAKER__OPEN_SECONDS": "1",
}
BUCKET_NS = 100_000_000
_NS_PER_SECOND = 1_000_000_000
_LOOK_SECONDS = 0.1
_QUEUE_FULL_SECONDS = 0.2


class Workload:
    """A feed, a consumer and callers on a started stack.

    Args:
        stack: started.
        spec: what runs.
        seed: of the feed's records.
        storage: how the harness reads the tables, past everything that faults are put in.
        plan: what the first consumer is started with.
    """

    def __init__(
        self, stack: Stack, spec: WorkloadSpec, seed: int, storage: StorageSettings, plan: SignalPlan | CutPlan | None
    ) -> None:
        self._stack, self._spec, self._seed = stack, spec, seed
        self.fed = FedColumns()
        self.callers = Callers()
        self.restarts = 0
        self._stopping = threading.Event()
        self._feed_error: Exception | None = None
        self._is_left_dead = plan is not None
        self._acknowledged_ns = array("q")
        self._latency_ns = array("q")
        self._sent_ns: dict[int, int] = {}
        self._committed = 0
        self._followed = SnapshotFollower(storage, TRADE.table)
        self._base = Counts()
        self._environment = {**PATIENT, **(_redis(stack) if spec.uses_redis else {})}
        self._children = [stack.start_consumer("trades", plan, self._environment)]
        self._threads = [
            threading.Thread(target=self._feed, name="feed", daemon=True),
            threading.Thread(target=self._follow_table, name="table", daemon=True),
        ]

    def start(self) -> None:
        """Let everything run that is not running yet."""
        for thread in self._threads:
            thread.start()
        calls: Mapping[str, Callable[[], Callable[[], tuple[bool, str]]]] = {
            REGISTER: lambda: registering(self._stack),
            QUERY: lambda: querying(self._stack, PATIENT),
        }
        for name in self._spec.callers:
            self.callers.start(name, calls[name]())

    def count_from_now(self) -> None:
        """The warm-up is over."""
        self._base = Counts(len(self._acknowledged_ns), self._committed)

    def counts(self) -> Counts:
        """Since the end of the warm-up."""
        return Counts(len(self._acknowledged_ns) - self._base.acknowledged, self._committed - self._base.committed)

    def totals(self) -> Counts:
        """Since the start."""
        return Counts(len(self._acknowledged_ns), self._committed)

    def consumer(self) -> ChildProcess:
        """The newest one."""
        return self._children[-1]

    def leave_dead(self) -> None:
        """Do not replace the consumer if it ends: that is what is wanted."""
        self._is_left_dead = True

    def replace_consumer(self) -> None:
        """Start another in the place of one that has ended."""
        self._is_left_dead = False
        if self.consumer().returncode() is not None:
            self.add_consumer()

    def add_consumer(self) -> None:
        """Start another beside it."""
        self._children.append(self._stack.start_consumer("trades", environment=self._environment))

    def stop_consumers(self) -> list[int]:
        """Ask every consumer that lives to end, and return the exit statuses."""
        return [child.stop() for child in reversed(self._children) if child.returncode() is None]

    def supervise(self) -> None:
        """Replace a consumer that ended by itself, and count it.

        Raises:
            Exception: what ended the feed.
        """
        if self._feed_error is not None:
            raise self._feed_error
        if not self._is_left_dead and self.consumer().returncode() is not None:
            self.restarts += 1
            self.replace_consumer()

    def stop_feeding(self) -> None:
        """Send nothing more, and wait until the fate of all that was sent is known; callers end too."""
        self._stopping.set()
        self._threads[0].join()
        self.callers.stop()

    def stop(self) -> None:
        """End every thread, whatever happened."""
        self.stop_feeding()
        self._threads[1].join()

    def snapshots(self) -> pa.Table:
        """Stage `snapshots`: all there were from the start until now, those too that the table no longer has."""
        self._threads[1].join()
        self._followed.look()
        return self._followed.snapshots()

    def acknowledgements(self) -> pa.Table:
        """Stage `acknowledgements`: by tenths of a second wall_ns of its start, records, latency_seconds (mean)."""
        at, latency = np.array(self._acknowledged_ns, np.int64), np.array(self._latency_ns, np.int64)
        buckets, inverse = np.unique(at // BUCKET_NS, return_inverse=True)
        records = np.bincount(inverse, minlength=len(buckets))
        seconds = np.bincount(inverse, weights=latency, minlength=len(buckets)) / np.maximum(records, 1) / 1e9
        return pa.table(
            {
                "wall_ns": pa.array(buckets * BUCKET_NS, pa.int64()),
                "records": pa.array(records, pa.int64()),
                "latency_seconds": pa.array(seconds, pa.float64()),
            }
        )

    def _feed(self) -> None:
        exchange = SyntheticExchange(
            SyntheticSettings(
                seed=self._seed, records=None, trade_share=1.0, gap_rate=0.0, duplicate_rate=0.0, reorder_rate=0.0
            )
        )
        paced = at_rate(exchange, self._spec.records_per_second, SystemClock(), self._stopping.wait)
        try:
            self._wait_for_registry()
            with build_producer(_shedding(self._stack.settings), Metrics()) as producer:
                run_feed(self._noted(paced), producer, on_fed=self._delivered, stopping=self._stopping.is_set)
        except Exception as error:  # noqa: BLE001 - raised again where it is looked for
            self._feed_error = error

    def _wait_for_registry(self) -> None:
        """What the scenario before did to a server may not be over for all that depend on it."""
        call = registering(self._stack)
        while not call()[0] and not self._stopping.wait(_LOOK_SECONDS):
            pass

    def _noted(self, records: Iterator[FeedRecord]) -> Iterator[FeedRecord]:
        for item in records:
            self._sent_ns[id(item)] = time.time_ns()
            yield item

    def _delivered(self, item: FeedRecord, delivery: Delivery) -> None:
        now_ns = time.time_ns()
        sent_ns = self._sent_ns.pop(id(item), now_ns)
        self.fed.add(item, delivery)
        if delivery.error is None:
            self._latency_ns.append(now_ns - sent_ns)
            self._acknowledged_ns.append(now_ns)

    def _follow_table(self) -> None:
        while True:
            # A catalog that is away is asked again.
            with contextlib.suppress(Exception):
                self._committed = self._followed.look()
            if self._stopping.wait(_LOOK_SECONDS) and not self._threads[0].is_alive():
                return


def _redis(stack: Stack) -> dict[str, str]:
    if not isinstance(stack, ContainerStack):
        raise PowerMissingError("there is no Redis on this stack")
    addresses = stack.services.addresses(proxied=True)
    return {
        "K2_STATE__KIND": "redis",
        "K2_STATE__REDIS_ADDRESS": addresses.of_services["redis"],
        "K2_STATE__REDIS_USER": REDIS_USER,
        "K2_STATE__REDIS_PASSWORD": addresses.secrets.redis,
    }


def _shedding(settings: Settings) -> Settings:
    bounded = settings.producer.model_copy(
        update={"overload_policy": "shed", "queue_full_timeout_seconds": _QUEUE_FULL_SECONDS}
    )
    return settings.model_copy(update={"producer": bounded})
