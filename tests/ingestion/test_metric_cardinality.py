"""Series do not grow with the data: ten thousand symbols add none."""

from k2.observability.metrics import Metrics
from tests.ingestion.market_records import trades
from tests.ingestion.stage import Stage

SYMBOLS = 10_000


def series(metrics: Metrics) -> set[str]:
    lines = metrics.exposition().decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_ten_thousand_symbols_add_no_series(stage: Stage) -> None:
    stage.produce(*trades(1, 5), *trades(8, 9), *trades(9, 9), b"no record")
    stage.take_in(9)
    few = series(stage.metrics)
    assert len(few) > 100
    others = [trades(1, 1, symbol=f"S{number}")[0] for number in range(SYMBOLS)]
    stage.produce(*others)
    stage.take_in(9 + SYMBOLS)
    assert len({row["symbol"] for row in stage.rows()}) == SYMBOLS + 1
    assert series(stage.metrics) == few
