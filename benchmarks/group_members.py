"""Several consumers of one group take a log in together; prints messages a second as JSON.

    python -m benchmarks.group_members --brokers HOST:PORT --members N --messages N --folder FOLDER

Timed from when the table holds a first message until it holds all, so starting and joining are left out; all members
share the machine's cores with the broker.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.filled_log import TOPIC
from benchmarks.ingest_children import prepared_settings
from k2.assembly.tables import committed_offsets
from k2.embedded.processes import ChildProcess
from k2.settings import KafkaSettings

PATIENCE_SECONDS = 120.0
# Small enough that several commits lie between the first and the last.
BATCH_ROWS = "10000"


def main() -> None:
    """Start the members, wait, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.group_members")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--members", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    settings = prepared_settings(options.folder, KafkaSettings(bootstrap_servers=options.brokers))
    ask = committed_offsets(settings)
    command = ["k2.cli", "--data-dir", str(options.folder), "consume", "--data-type", "trades"]
    environment = {"K2_CONSUMER__BATCH_ROWS": BATCH_ROWS, "K2_KAFKA__GROUP_ID": f"members-{options.members}"}
    members = [
        ChildProcess(f"member-{number}", command, options.folder / f"member-{number}.log", environment)
        for number in range(options.members)
    ]
    try:
        print(json.dumps({"messages_per_second": rate(ask, options.messages)}))
    finally:
        for member in members:
            member.stop()


def rate(ask: Callable[[], Mapping[tuple[str, int], int]], messages: int) -> float:
    """Messages a second between the first look that finds some and the one that finds all.

    Raises:
        TimeoutError: the table does not take them all in.
    """
    first: tuple[float, int] | None = None
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        held = sum(offset for (topic, _), offset in ask().items() if topic == TOPIC)
        now = time.monotonic()
        if held and first is None:
            first = (now, held)
        if held >= messages and first is not None and now > first[0]:
            return (held - first[1]) / (now - first[0])
        time.sleep(0.02)
    raise TimeoutError(f"the table does not hold {messages} messages after {PATIENCE_SECONDS:g} s")


if __name__ == "__main__":
    main()
