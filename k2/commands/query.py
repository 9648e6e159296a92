"""`k2 query`: ask the tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from k2.cli_output import QUOTE_COLUMNS, REFERENCE_COLUMNS, TRADE_COLUMNS, print_rows
from k2.commands.context import AsJson, DataType, known_data_type, settings_of
from k2.observability.metrics import Metrics

if TYPE_CHECKING:
    from k2.query.engine import QueryEngine

app = typer.Typer(no_args_is_help=True, help="Ask the tables.")
Symbol = Annotated[str | None, typer.Option(help="Only this instrument.")]
Exchange = Annotated[str | None, typer.Option(help="Only this exchange.")]
Limit = Annotated[int, typer.Option(help="At most so many rows.")]
AllColumns = Annotated[bool, typer.Option("--all-columns", help="Every column, not only those people ask for.")]


@app.command("trades")
def trades(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    limit: Limit = 20,
    all_columns: AllColumns = False,
    as_json: AsJson = False,
) -> None:
    """Trades in order of event time.

    Example: k2 query trades --symbol BTCUSDT --limit 5
    """
    with _engine(context) as engine:
        rows = engine.query_trades(symbol=symbol, exchange=exchange, limit=limit).rows.to_pylist()
    print_rows(rows, None if all_columns else TRADE_COLUMNS, as_json)


@app.command("quotes")
def quotes(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    limit: Limit = 20,
    all_columns: AllColumns = False,
    as_json: AsJson = False,
) -> None:
    """Quotes in order of event time.

    Example: k2 query quotes --exchange BINANCE --json
    """
    with _engine(context) as engine:
        rows = engine.query_quotes(symbol=symbol, exchange=exchange, limit=limit).rows.to_pylist()
    print_rows(rows, None if all_columns else QUOTE_COLUMNS, as_json)


@app.command("reference")
def reference(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    limit: Limit = 20,
    all_columns: AllColumns = False,
    as_json: AsJson = False,
) -> None:
    """Reference data in order of event time: what was said of an instrument last comes last.

    Example: k2 query reference --exchange ASX --symbol BHP
    """
    with _engine(context) as engine:
        rows = engine.query_reference(symbol=symbol, exchange=exchange, limit=limit).rows.to_pylist()
    print_rows(rows, None if all_columns else REFERENCE_COLUMNS, as_json)


@app.command("symbols")
def symbols(context: typer.Context, data_type: DataType = "trades", as_json: AsJson = False) -> None:
    """Instruments that have rows.

    Example: k2 query symbols --data-type quotes
    """
    known = known_data_type(data_type)
    with _engine(context) as engine:
        rows = engine.get_symbols(known).rows.to_pylist()
    print_rows(rows, as_json=as_json)


@app.command("gaps")
def gaps(context: typer.Context, data_type: DataType = "trades", as_json: AsJson = False) -> None:
    """Sequence numbers that were skipped and have not arrived since.

    Example: k2 query gaps --data-type trades
    """
    known = known_data_type(data_type)
    with _engine(context) as engine:
        gaps = engine.open_gaps(known)
    names = ("exchange", "symbol", "tracker", "first_missing", "last_missing")
    print_rows([{name: getattr(gap, name) for name in names} for gap in gaps], as_json=as_json)


@contextmanager
def _engine(context: typer.Context) -> Iterator["QueryEngine"]:
    from k2.assembly.serving import query_engine

    with query_engine(settings_of(context), Metrics()) as engine:
        yield engine
