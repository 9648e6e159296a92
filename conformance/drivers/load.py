"""Runs a load profile: Locust in a process of its own, and somebody who looks at the API's gauges on the same clock."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from conformance.drivers import http
from conformance.drivers.bulk import feed_in_bulk
from conformance.drivers.feeding import DRAIN_TIMEOUT_SECONDS, table_offsets
from conformance.drivers.load_profile import Profile
from conformance.drivers.repeating import repeating
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

ROOT = Path(__file__).resolve().parents[2]
SEED = 41
WINDOW_MESSAGES = 8_000
LOOK_SECONDS = 0.25
# Users are made, and ask what there is to ask for, before the first phase begins; the last answers come after it.
SETTLE_SECONDS = 30.0
GAUGES = (
    "k2_connection_pool_size",
    "k2_connection_pool_active_connections",
    "k2_connection_pool_available_connections",
    "k2_connection_pool_acquisition_timeouts_total",
    "k2_degradation_level",
)
_REQUESTS = pa.schema(
    [
        ("phase", pa.string()),
        ("user", pa.string()),
        ("due_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("done_ns", pa.int64()),
        ("free_ns", pa.int64()),
        ("status", pa.int32()),
        ("is_expected", pa.bool_()),
        ("code", pa.string()),
        ("rows", pa.int32()),
    ]
)


def feed_trades(stack: Stack, records: int) -> None:
    """Have so many trades in the table, and nobody at work on it.

    Raises:
        TimeoutError: the table does not take them in.
    """
    consumer = stack.start_consumer("trades")
    settings = SyntheticSettings(seed=SEED, records=records, trade_share=1.0)
    ends = feed_in_bulk(stack, SyntheticExchange(settings), WINDOW_MESSAGES).ends()
    give_up_at = time.monotonic() + DRAIN_TIMEOUT_SECONDS
    while any(table_offsets(stack).get(place, 0) < end for place, end in ends.items()):
        if time.monotonic() > give_up_at or consumer.returncode() is not None:
            raise TimeoutError("the table did not take in the trades to be asked for")
        time.sleep(0.1)
    consumer.stop()


def run_profile(stack: Stack, profile: Profile, history: HistoryWriter, folder: Path) -> None:
    """Run every part of a profile, each against an API of its own, and record requests and gauges.

    Raises:
        RuntimeError: Locust did not do what it was told.
    """
    for number, run in enumerate(profile.runs):
        api_url = stack.start_api(run.environment)
        record = folder / f"requests-{number}"
        with watched(history, api_url):
            run_locust(profile.name, number, api_url, record, run.seconds)
        stack.process("api").stop()
        requests = read_requests(record)
        history.observe("requests", requests)


def run_locust(profile: str, number: int, api_url: str, record: Path, seconds: float, *options: str) -> None:
    """One run of a profile, headless; every request is in files whose names begin with `record`.

    Raises:
        RuntimeError: Locust ended otherwise than it should; the message has its last line.
    """
    command = [
        # Who measures must not queue for the processor behind what is measured. Without the right to, it goes on as is.
        *("nice", "-n", "-10"),
        *(sys.executable, "-m", "locust", "-f", "load/", "--headless", "--host", api_url),
        *("--load-profile", profile, "--load-run", str(number), "--record", str(record)),
        # Locust's own verdict counts failures; ours is the checker's.
        *("--exit-code-on-error", "0", "--loglevel", "WARNING", "--only-summary", *options),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds + 2 * SETTLE_SECONDS,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"locust ended with exit code {done.returncode}: {lines[-1][:300]}")


def read_requests(record: Path) -> pa.Table:
    """The requests of all of Locust's processes, in the order in which they were due."""
    lines = [
        orjson.loads(line)
        for path in sorted(record.parent.glob(f"{record.name}.*"))
        for line in path.read_bytes().splitlines()
    ]
    return pa.Table.from_pylist(sorted(lines, key=lambda line: int(line["due_ns"])), schema=_REQUESTS)


@contextmanager
def watched(history: HistoryWriter, api_url: str) -> Iterator[None]:
    """Look at the API's gauges for as long as the body runs, and record them.

    Raises:
        OSError: the API could not be asked.
    """
    looks: list[dict[str, Any]] = []
    with repeating(LOOK_SECONDS, lambda: looks.extend(look(api_url))):
        yield
    history.observe(
        "gauges",
        pa.Table.from_pylist(
            looks, pa.schema([("wall_ns", pa.int64()), ("name", pa.string()), ("value", pa.float64())])
        ),
    )


def look(api_url: str) -> Iterator[dict[str, Any]]:
    """The gauges as they are now."""
    wall_ns = time.time_ns()
    exposition = http.get(f"{api_url}/metrics").body
    for name in GAUGES:
        yield {"wall_ns": wall_ns, "name": name, "value": http.metric(exposition, name, {})}
