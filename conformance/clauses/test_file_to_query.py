"""A CSV file is queryable soon after it was given to the platform: the shortest of its service level objectives.

From the start of `k2 feed --csv` until the API answers every row of the file MUST take less than 10 s (OBS-7), and the
answer MUST be the file's rows.
"""

import time
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.stacks.base import Stack

pytestmark = pytest.mark.alone

ROWS = 20_000
SYMBOLS = ("ANZ", "BHP", "CBA", "CSL", "NAB", "RIO", "WBC", "WES")
LIMIT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
EXIT_DONE = 0


@pytest.mark.clause(
    name="file_to_query",
    claims=("OBS-7b",),
    checker="facts",
    title="Every row of a CSV file is in the API's answer within 10 s of the command that feeds it",
    minimum_samples=ROWS,
    remedy="see k2/commands/feed.py, consumer.max_latency_seconds for how long a batch is held, and docs/freshness.md",
)
def test_a_file_is_queryable_within_ten_seconds(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(csv_text())
    with clause.history() as history:
        # A platform that runs: the file comes to it, not the other way round.
        stack.start_consumer("trades")
        url = stack.start_api()
        started = time.monotonic()
        answer = k2(stack, "feed", "--csv", str(path), "--exchange", "ASX")
        numbers: list[int] = []
        while len(numbers) < ROWS and time.monotonic() - started < PATIENCE_SECONDS:
            numbers = trade_numbers(url)
        seconds = time.monotonic() - started
        clause.note(f"{ROWS:,} rows of a file in the answer after {seconds:.1f} s")
        record_fact(history, "exit code and error", [EXIT_DONE, ""], lambda: [answer.exit_code, answer.stderr])
        record_fact(history, "rows", True, lambda: sorted(numbers) == list(range(ROWS)), samples=ROWS)
        record_fact(history, f"within {LIMIT_SECONDS:g} s", True, lambda: seconds < LIMIT_SECONDS)
    clause.judge()


def csv_text() -> str:
    """A file of trades whose numbers are 0 to ROWS - 1."""
    lines = ["event_time,symbol,price,quantity,side,trade_id"]
    for number in range(ROWS):
        at = f"2024-08-09T10:{number // 60 % 60:02d}:{number % 60:02d}.5+10:00"
        lines.append(f"{at},{SYMBOLS[number % len(SYMBOLS)]},41.5{number % 10},100,BUY,{number}")
    return "\n".join(lines) + "\n"


def trade_numbers(url: str) -> list[int]:
    """Numbers of all trades that the API answers."""
    pages = http.all_pages(f"{url}/v1/trades", {"exchange": "ASX"})
    return [int(row["trade_id"]) for page in pages for row in page.body["data"]]
