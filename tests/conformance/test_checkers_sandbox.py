"""The attempts get out of a DuckDB that is not hardened, and the checker says so."""

from pathlib import Path

import duckdb
import pytest

from conformance.checkers.sandbox import check
from conformance.checkers.verdict import Outcome
from conformance.drivers.sandbox_attempts import ATTEMPTS, READS, Asked, Places, make_attempts
from conformance.history import Header, History, HistoryWriter


@pytest.fixture
def places(tmp_path: Path) -> Places:
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    places = Places(warehouse, tmp_path / "outside")
    places.prepare()
    return places


def unhardened_history(places: Places, folder: Path, attempts: tuple[str, ...]) -> History:
    """The attempts on a connection that nobody has hardened."""
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False})
    connection.execute("CREATE TABLE trades AS SELECT 1 AS n")

    def ask(sql: str) -> Asked:
        try:
            relation = connection.sql(sql)
            return Asked([] if relation is None else [str(row) for row in relation.to_arrow_table().to_pylist()])
        except duckdb.Error as error:
            return Asked(error=str(error))

    header = Header("unhardened", (), "sandbox", 1, "none", 0, {"minimum_samples": 1})
    with HistoryWriter(folder / "history", header) as history:
        make_attempts(history, "sql", ask, places, attempts)
    connection.close()
    return History.read(folder / "history")


def test_there_are_fifty_different_attempts_and_more() -> None:
    assert len(set(ATTEMPTS)) == len(ATTEMPTS) >= 50


def test_an_unhardened_connection_is_caught(places: Places, tmp_path: Path) -> None:
    writes = ("COPY (SELECT 1) TO '{outside}/written.csv'", "SET threads = 3")
    verdict = check(unhardened_history(places, tmp_path, (*READS, *writes)))
    assert verdict.outcome is Outcome.FAIL
    found = {finding.kind: finding.count for finding in verdict.findings}
    assert set(found) == {"read_outside", "got_out", "wrote", "reconfigured"}
    assert found["read_outside"] >= 20


@pytest.mark.parametrize("attempt", ["SELECT * FROM read_text('{secret}')", "SELECT * FROM glob('{outside}/*')"])
def test_a_single_way_out_is_enough(places: Places, tmp_path: Path, attempt: str) -> None:
    verdict = check(unhardened_history(places, tmp_path, (attempt,)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.findings[0].examples == (f"sql: {attempt}",)
