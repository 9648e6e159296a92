"""SQL does not get out of its sandbox.

Whatever is asked through free SQL or through the parameters of the API, no file outside the tables' own MUST be read or
written, no extension loaded, no host reached and no setting changed (QRY-2). Each attempt MUST be refused, or answered
without a row; honest questions MUST be answered before and after.
"""

import itertools
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.dlq_command import k2
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.sandbox_attempts import ATTEMPTS, Ask, Asked, Places, make_attempts
from conformance.drivers.table_view import warehouse_folder
from conformance.stacks.base import Stack
from k2.assembly.serving import sql_process
from k2.errors import K2Error
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.query.free_sql import SqlProcess

RECORDS, LEAST_ATTEMPTS = 300, 50
BY_COMMAND = (
    "SELECT * FROM read_text('{secret}')",
    "COPY trades TO '{outside}/written.parquet'",
    "SET lock_configuration = false",
)
HONEST_REQUEST = "/v1/trades"


@pytest.mark.clause(
    name="sandbox",
    claims=("QRY-2c",),
    checker="sandbox",
    title="No attempt to leave the sandbox succeeds, through free SQL, its command or the API, and nothing changes",
    minimum_samples=2 * LEAST_ATTEMPTS,
    remedy="see k2/query/hardening.py and k2/query/connection.py",
)
def test_nothing_gets_out_of_the_sandbox(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    least = {"sql": LEAST_ATTEMPTS, "command": len(BY_COMMAND), "api": LEAST_ATTEMPTS}
    with clause.history(seed=61, minimum_attempts=least) as history:
        stack.start_consumer("trades")
        records = SyntheticExchange(SyntheticSettings(seed=61, records=RECORDS, trade_share=1.0))
        wait_until_drained(stack, history, feed_records(stack, records).acknowledged_ends())
        stack.process("consumer-trades").stop()
        places = Places(warehouse_folder(stack.settings.storage), tmp_path / "outside")
        places.prepare()
        with sql_process(stack.settings, Metrics()) as process:
            make_attempts(history, "sql", lambda sql: in_process(process, sql), places)
        make_attempts(history, "command", lambda sql: by_command(stack, sql), places, BY_COMMAND)
        url = stack.start_api()
        make_attempts(history, "api", as_parameters(url), places, ATTEMPTS, honest=[HONEST_REQUEST])
    clause.judge()


def in_process(process: SqlProcess, sql: str) -> Asked:
    """A statement in the process for free SQL."""
    try:
        with process.run(sql, time_limit_seconds=20) as answer:
            return Asked([str(row) for row in answer.read_all().to_pylist()])
    except K2Error as error:
        return Asked(error=str(error))


def by_command(stack: Stack, sql: str) -> Asked:
    """A statement as `k2 query --sql` runs it."""
    ran = k2(stack, "query", "--sql", sql, "--json")
    return Asked(ran.stdout.splitlines(), ran.stderr if ran.exit_code else None, server_error=ran.exit_code == 1)


def as_parameters(url: str) -> Ask:
    """Asks with a statement as the value of each filter in turn; the honest request has none."""
    filters = itertools.cycle(("exchange", "symbol", "exchange,symbol"))

    def ask(sql: str) -> Asked:
        names = [] if sql == HONEST_REQUEST else next(filters).split(",")
        answer = http.get(f"{url}{HONEST_REQUEST}", {"limit": 1_000, **dict.fromkeys(names, sql)})
        if answer.status != 200:
            return Asked(error=str(answer.status), server_error=answer.status >= 500)
        return Asked([str(row) for row in answer.body["data"]])

    return ask
