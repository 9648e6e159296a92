"""A feed whose rate is changed from outside while it runs, in a process of its own, so that its memory can be measured.

Standard input takes lines of JSON, each answered by one on standard output:

    {"rate": 3000}    {"given": 1200, "monotonic_ns": 81}    from now on so many records a second
    {"rate": 0}       {"given": 4800, ...,                   no more; the answer comes once the fate of all is known
                       "statistics": {...}}

What became of each record is a line of the file of fates, in the order in which it became known. It keeps nothing of
a record in memory. Trades without faults, without end; the producer is K2's own, by the settings of the environment.
"""

import argparse
import csv
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from k2.assembly.feeding import build_producer
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.feed_runner import run_feed
from k2.ingestion.producer import Delivery
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.settings import load_settings

FATES = ("session", "exchange", "symbol", "session_sequence", "source_sequence", "topic", "kafka_partition",
         "kafka_offset", "reason")  # fmt: skip
_SYMBOLS = tuple(f"COIN{number:02d}" for number in range(16))
_IDLE_SECONDS = 0.02


class RatedFeed:
    """Records at a rate that another thread changes; ends once that is 0."""

    def __init__(self, seed: int) -> None:
        faultless = SyntheticSettings(
            seed=seed, records=None, trade_share=1.0, symbols=_SYMBOLS, gap_rate=0, duplicate_rate=0, reorder_rate=0
        )
        self._records = iter(SyntheticExchange(faultless))
        self._rate: float | None = None
        self.given = 0

    def set_rate(self, rate: float) -> None:
        """So many a second from now on."""
        self._rate = rate

    def __iter__(self) -> Iterator[FeedRecord]:
        due = time.monotonic()
        while self._rate != 0:
            if self._rate is None:
                time.sleep(_IDLE_SECONDS)
                due = time.monotonic()
                continue
            wait_seconds = due - time.monotonic()
            if wait_seconds > 0:
                time.sleep(min(wait_seconds, _IDLE_SECONDS))
                continue
            due += 1 / self._rate
            self.given += 1
            yield next(self._records)


def main() -> None:
    """Feed until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.rated_feeder")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--fates", type=Path, required=True)
    arguments = parser.parse_args()
    settings, metrics, feed = load_settings(arguments.data_dir), Metrics(), RatedFeed(arguments.seed)
    configure_logs(settings.log_level)
    threading.Thread(target=_obey, args=(feed,), daemon=True).start()
    with arguments.fates.open("w", newline="") as file, build_producer(settings, metrics) as producer:
        writer = csv.writer(file)
        writer.writerow(FATES)
        run_feed(feed, producer, on_fed=lambda item, delivery: writer.writerow(_fate(item, delivery)))
    counted = producer.statistics()
    reasons = {
        reason: metrics.value("k2_producer_errors_total", {"data_type": "trades", "reason": reason})
        for reason in counted.errors_by_reason
    }
    statistics = {**asdict(counted), "errors_by_metric": reasons}
    _say({"given": feed.given, "monotonic_ns": time.monotonic_ns(), "statistics": statistics})


def _obey(feed: RatedFeed) -> None:
    for line in sys.stdin:
        rate = float(json.loads(line)["rate"])
        feed.set_rate(rate)
        if rate:
            _say({"given": feed.given, "monotonic_ns": time.monotonic_ns()})
    feed.set_rate(0)


def _fate(item: FeedRecord, delivery: Delivery) -> tuple[Any, ...]:
    record = item.record
    return (
        *(record[name] for name in FATES[:5]),
        *(delivery.topic, delivery.partition, delivery.offset, delivery.error or ""),
    )


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
