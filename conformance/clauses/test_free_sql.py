"""Free SQL is stopped at its limits, whatever it is.

A statement over its time limit MUST be interrupted; one that ignores the interrupt MUST be killed with its process, the
caller told so in one line with the documented exit code, and the next statement answered (QRY-2). Memory MUST stay
bounded also where DuckDB does not count it. Only a single SELECT MUST be run.
"""

import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.stacks.base import Stack
from k2.assembly.serving import sql_process
from k2.errors import K2Error, QueryTimeoutError
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.query.free_sql import SqlProcess
from k2.query.sql_process import MEMORY_BESIDE_DUCKDB_BYTES

pytestmark = pytest.mark.alone

RECORDS, LIMIT_SECONDS, STARTED_LIMIT_SECONDS, KILLED_AFTER_SECONDS = 400, 0.5, 30.0, 2.5
MEMORY_LIMIT_BYTES = 256 * 10**6
COUNT = "SELECT count(*) AS n FROM trades"
# One call of a function, which looks at no interrupt: about a minute of a core, in little memory.
DEAF = "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000)) AS n"
WILLING = "SELECT sum(i) AS n FROM range(1000000000000) t(i)"
GREEDY = (
    "SELECT length(repeat('x', 2000000000)) AS n",
    "SELECT count(*) FROM (SELECT DISTINCT repeat('x', 100) || i FROM range(100000000) t(i))",
    "SELECT list(i) FROM range(1000000000) t(i)",
)
NO_SELECT = ("DELETE FROM trades", "CREATE TABLE t AS SELECT 1", "SELECT 1; SELECT 2", "SET threads = 1", "")
SYMBOL_COUNTS = "SELECT symbol, count(*) AS n FROM trades GROUP BY symbol ORDER BY symbol"


@pytest.mark.clause(
    name="free_sql",
    claims=("QRY-2b", "QRY-2c"),
    checker="facts",
    title="Free SQL that ignores its interrupt is killed with its process, in time, with a clear error; memory holds",
    minimum_samples=14,
    remedy="see k2/query/free_sql.py and k2/query/sql_process.py",
)
def test_free_sql_is_stopped_at_its_limits(stack: Stack, clause: ClauseRun) -> None:
    settings = stack.settings.model_copy(
        update={"query": stack.settings.query.model_copy(update={"memory_limit": f"{MEMORY_LIMIT_BYTES}B"})}
    )
    with clause.history(seed=62) as history:
        stack.start_consumer("trades")
        records = SyntheticExchange(SyntheticSettings(seed=62, records=RECORDS, trade_share=1.0))
        wait_until_drained(stack, history, feed_records(stack, records).acknowledged_ends())
        stack.process("consumer-trades").stop()
        with sql_process(settings, Metrics()) as process:

            def fact(name: str, expected: Any, sql: str, limit_seconds: float = STARTED_LIMIT_SECONDS) -> None:
                record_fact(history, name, expected, lambda: outcome(process, sql, limit_seconds))

            fact("an honest question", [[{"n": RECORDS}], "answered"], COUNT)
            first = worker()
            fact("work over its limit", [None, "QueryTimeoutError: stopped"], WILLING, LIMIT_SECONDS)
            record_fact(history, "its process", first, worker)
            record_fact(history, "deaf work", [True, "QueryTimeoutError: killed"], lambda: timed(process, DEAF))
            record_fact(history, "deaf work's process", False, lambda: psutil.pid_exists(first))
            fact("the next question", [[{"n": RECORDS}], "answered"], COUNT)
            for number, sql in enumerate(GREEDY):
                fact(f"more memory than there is, {number}", [None, "UnavailableError"], sql)
            record_fact(history, "memory held", True, lambda: peak_bytes() < allowed_bytes())
            for sql in NO_SELECT:
                fact(f"refused: {sql}", [None, "UsageError"], sql)
            fact("the last question", [[{"n": RECORDS}], "answered"], COUNT)
        record_fact(history, "deaf work by the command", [70, 1, "killed"], lambda: deaf_command(stack))
        record_fact(history, "an answer by the command", [0, RECORDS], lambda: counted_by_command(stack))
        record_fact(history, "wrong SQL by the command", [64, 1], lambda: wrong_command(stack))
    clause.judge()


def outcome(process: SqlProcess, sql: str, limit_seconds: float) -> list[Any]:
    """Rows and "answered", or the error that ended it."""
    try:
        with process.run(sql, time_limit_seconds=limit_seconds) as answer:
            return [answer.read_all().to_pylist(), "answered"]
    except K2Error as error:
        kind = type(error).__name__
        if isinstance(error, QueryTimeoutError):
            kind += ": killed" if "was killed with its process" in str(error) else ": stopped"
        return [None, kind]


def timed(process: SqlProcess, sql: str) -> list[Any]:
    """Whether it ended in time, and how."""
    started = time.monotonic()
    _, how = outcome(process, sql, LIMIT_SECONDS)
    seconds = time.monotonic() - started
    return [LIMIT_SECONDS <= seconds <= LIMIT_SECONDS + KILLED_AFTER_SECONDS, how]


def worker() -> int:
    """The process that runs the statements."""
    (child,) = [one.pid for one in psutil.Process().children() if "k2.query.sql_process" in one.cmdline()]
    return int(child)


def peak_bytes() -> int:
    """The most memory its process ever had resident."""
    status = Path(f"/proc/{worker()}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


def allowed_bytes() -> int:
    """DuckDB's limit, what the process may have beside it, and the pages of libraries, which the kernel counts too."""
    return MEMORY_LIMIT_BYTES + MEMORY_BESIDE_DUCKDB_BYTES + 200 * 2**20


def deaf_command(stack: Stack) -> list[Any]:
    """Exit code, lines of the error, and whether it says what happened."""
    ran = k2(stack, "query", "--sql", DEAF, "--time-limit", str(LIMIT_SECONDS))
    return [
        ran.exit_code,
        len(ran.stderr.splitlines()),
        "killed" if "was killed with its process" in ran.stderr else "",
    ]


def counted_by_command(stack: Stack) -> list[Any]:
    """Exit code and the sum of the counts by symbol."""
    ran = k2(stack, "query", "--sql", SYMBOL_COUNTS, "--json")
    return [ran.exit_code, sum(row["n"] for row in ran.objects)]


def wrong_command(stack: Stack) -> list[int]:
    """Exit code and lines of the error."""
    ran = k2(stack, "query", "--sql", "SELECT nothing FROM trades")
    return [ran.exit_code, len(ran.stderr.splitlines())]
