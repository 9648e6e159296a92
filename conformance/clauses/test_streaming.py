"""A result larger than memory is streamed within bounded memory.

Rows MUST come as they are made: the memory of the process that answers MUST stay bounded while the answer is larger
than its limit, in free SQL and page by page from the engine (QRY-3). Every row MUST come once, and pages in order.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.bulk import feed_in_bulk
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.table_view import open_table
from conformance.stacks.base import Stack
from k2.assembly.serving import query_engine, sql_process
from k2.errors import K2Error
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.query.free_sql import SqlProcess
from k2.query.result import RowQuery
from k2.records.definition import TRADE

pytestmark = pytest.mark.alone

RECORDS, PAGE_ROWS, COPIES = 30_000, 4_000, 400
MEMORY_LIMIT_BYTES, PROCESS_BYTES = 128 * 10**6, 700 * 2**20
# As many rows as the table has, times COPIES, each about 180 bytes: two gigabytes.
SQL = f"SELECT t.session_sequence, repeat(t.trade_id || t.symbol, 8) AS text FROM trades t, range({COPIES})"


@pytest.mark.clause(
    name="streaming",
    claims=("QRY-3c",),
    checker="facts",
    title="An answer of gigabytes is streamed in bounded memory, and pages of the engine hold every row once, in order",
    minimum_samples=RECORDS * COPIES // 2,
    remedy="see k2/query/sql_process.py and stream_rows in k2/query/engine.py",
)
def test_an_answer_larger_than_memory_is_streamed(stack: Stack, clause: ClauseRun) -> None:
    query = stack.settings.query.model_copy(update={"memory_limit": f"{MEMORY_LIMIT_BYTES}B"})
    settings = stack.settings.model_copy(update={"query": query})
    with clause.history(seed=65) as history:
        stack.start_consumer("trades")
        records = SyntheticExchange(SyntheticSettings(seed=65, records=RECORDS, trade_share=1.0))
        wait_until_drained(stack, history, feed_in_bulk(stack, records, 8_000).ends())
        stack.process("consumer-trades").stop()
        stored = open_table(stack.settings.storage, TRADE.table).scan(selected_fields=("symbol",)).to_arrow().num_rows
        with sql_process(settings, Metrics()) as process:
            rows, answer_bytes, peak_bytes = drained(process)
        record_fact(history, "rows streamed", stored * COPIES, lambda: rows, samples=rows)
        record_fact(history, "larger than memory", True, lambda: answer_bytes > 3 * MEMORY_LIMIT_BYTES)
        record_fact(history, "peak memory of the process", True, lambda: peak_bytes < PROCESS_BYTES)
        with query_engine(settings, Metrics()) as engine:
            query_of_pages = RowQuery(limit=PAGE_ROWS, columns=("event_time_ns",))
            pages = [page.rows for page in engine.stream_rows("trades", query_of_pages)]
            whole = engine.query_trades(limit=100_000, columns=("event_time_ns",)).rows
        record_fact(history, "largest page", PAGE_ROWS, lambda: max(page.num_rows for page in pages))
        record_fact(history, "rows in pages", True, lambda: pa.concat_tables(pages).equals(whole))
        record_fact(history, "in order", True, lambda: is_sorted(pages))
        ran = k2(stack, "query", "trades", "--all", "--format", "csv", "--columns", "session,session_sequence,symbol")
        lines = ran.stdout.splitlines()[1:]
        record_fact(history, "lines by the command, distinct", [stored] * 2, lambda: [len(lines), len({*lines})])
        clause.note(f"{answer_bytes / 2**20:,.0f} MiB streamed, peak {peak_bytes / 2**20:,.0f} MiB resident")
    clause.judge()


def drained(process: SqlProcess) -> tuple[int, int, int]:
    """Rows and bytes of the answer up to its end or an error, and the most memory its process had."""
    rows = answer_bytes = 0
    with suppress(K2Error), process.run(SQL) as answer:
        for batch in answer:
            rows += batch.num_rows
            answer_bytes += batch.nbytes
    (child,) = [one for one in psutil.Process().children() if "k2.query.sql_process" in one.cmdline()]
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child.pid}/status").read_text())
    assert match is not None
    return rows, answer_bytes, int(match[1]) * 1024


def is_sorted(pages: Iterable[pa.Table]) -> bool:
    """Whether event times never fall, from row to row and from page to page."""
    times = pa.concat_tables(pages)["event_time_ns"].combine_chunks()
    return not pc.any(pc.less(times[1:], times[:-1])).as_py()
