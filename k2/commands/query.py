"""`k2 query`: ask the tables."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from k2.api.timestamps import parse_time_ns
from k2.cli_output import QUOTE_COLUMNS, REFERENCE_COLUMNS, TRADE_COLUMNS, print_rows
from k2.commands.context import AsJson, DataType, known_data_type, settings_of
from k2.errors import UsageError
from k2.observability.metrics import Metrics

if TYPE_CHECKING:
    from k2.commands.query_output import OutputFormat
    from k2.query.engine import QueryEngine

PAGE_ROWS = 50_000

app = typer.Typer(help="Ask the tables.", invoke_without_command=True)
Symbol = Annotated[str | None, typer.Option(help="Only this instrument.")]
Exchange = Annotated[str | None, typer.Option(help="Only this exchange.")]
Start = Annotated[str | None, typer.Option(help="Event time at or after this: 2026-11-21T09:45:00Z, or ns.")]
End = Annotated[str | None, typer.Option(help="Event time before this.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many rows.")]
AllRows = Annotated[bool, typer.Option("--all", help="Every row, whatever --limit says.")]
Columns = Annotated[str | None, typer.Option(help="Only these columns: price,quantity.")]
AllColumns = Annotated[bool, typer.Option("--all-columns", help="Every column, not only those people ask for.")]
Snapshot = Annotated[int | None, typer.Option(help="Read this snapshot; `k2 query snapshots` lists them.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Read the table as it was at this time.")]
Explain = Annotated[bool, typer.Option(help="Show how the query was answered instead of its rows.")]
Format = Annotated[str, typer.Option("--format", help="table, json, csv or arrow (an Arrow IPC stream).")]


@app.callback()
def ask(
    context: typer.Context,
    sql: Annotated[str | None, typer.Option(help="A single SELECT on trades, quotes and reference_data.")] = None,
    as_of: AsOf = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds until it is stopped; default: the setting.")] = None,
    explain: Explain = False,
    output_format: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Ask the tables: with a command for the usual questions, or in SQL.

    SQL runs in a process of its own, which reads the tables' files and nothing else and is stopped at the time limit.

    Example: k2 query --sql "SELECT symbol, count(*) FROM trades GROUP BY ALL"
    """
    if context.invoked_subcommand is not None:
        if sql is not None:
            raise UsageError(f"--sql and the command {context.invoked_subcommand} cannot both be given")
        return
    if sql is None:
        raise UsageError("a command is missing (see `k2 query --help`)")
    from k2.assembly.serving import sql_process
    from k2.commands.query_output import print_pieces

    chosen = _output_format(output_format, as_json)
    with (
        sql_process(settings_of(context), Metrics(), as_of_time_ns=_time_ns("--as-of", as_of)) as process,
        process.run(sql, time_limit_seconds=time_limit, explain=explain) as answer,
    ):
        if explain:
            typer.echo(answer.read_all()["plan"][0].as_py())
        else:
            print_pieces(answer.schema, answer, chosen)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options that every command for rows has."""

    symbol: str | None
    exchange: str | None
    start: str | None
    end: str | None
    limit: int | None
    columns: str | None
    snapshot: int | None
    as_of: str | None
    explain: bool
    output_format: str


@app.command("trades")
def trades(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    all_rows: AllRows = False,
    columns: Columns = None,
    all_columns: AllColumns = False,
    snapshot: Snapshot = None,
    as_of: AsOf = None,
    explain: Explain = False,
    output_format: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Trades in order of event time.

    Example: k2 query trades --symbol BTCUSDT --limit 5
    """
    most = None if all_rows else limit
    chosen = "json" if as_json else output_format
    asked = _Asked(symbol, exchange, start, end, most, columns, snapshot, as_of, explain, chosen)
    _print_answer(context, "trades", asked, None if all_columns else TRADE_COLUMNS)


@app.command("quotes")
def quotes(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    all_rows: AllRows = False,
    columns: Columns = None,
    all_columns: AllColumns = False,
    snapshot: Snapshot = None,
    as_of: AsOf = None,
    explain: Explain = False,
    output_format: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Quotes in order of event time.

    Example: k2 query quotes --exchange BINANCE --json
    """
    most = None if all_rows else limit
    chosen = "json" if as_json else output_format
    asked = _Asked(symbol, exchange, start, end, most, columns, snapshot, as_of, explain, chosen)
    _print_answer(context, "quotes", asked, None if all_columns else QUOTE_COLUMNS)


@app.command("reference")
def reference(
    context: typer.Context,
    symbol: Symbol = None,
    exchange: Exchange = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    all_rows: AllRows = False,
    columns: Columns = None,
    all_columns: AllColumns = False,
    snapshot: Snapshot = None,
    as_of: AsOf = None,
    explain: Explain = False,
    output_format: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Reference data in order of event time: what was said of an instrument last comes last.

    Example: k2 query reference --exchange ASX --symbol BHP
    """
    most = None if all_rows else limit
    chosen = "json" if as_json else output_format
    asked = _Asked(symbol, exchange, start, end, most, columns, snapshot, as_of, explain, chosen)
    _print_answer(context, "reference_data", asked, None if all_columns else REFERENCE_COLUMNS)


@app.command("symbols")
def symbols(context: typer.Context, data_type: DataType = "trades", as_json: AsJson = False) -> None:
    """Instruments that have rows.

    Example: k2 query symbols --data-type quotes
    """
    known = known_data_type(data_type)
    with _engine(context) as engine:
        rows = engine.get_symbols(known).rows.to_pylist()
    print_rows(rows, as_json=as_json)


@app.command("snapshots")
def snapshots(context: typer.Context, data_type: DataType = "trades", as_json: AsJson = False) -> None:
    """States of a table that can still be read, oldest first.

    Example: k2 query snapshots --data-type trades
    """
    known = known_data_type(data_type)
    with _engine(context) as engine:
        kept = engine.snapshots(known)
    names = ("snapshot_id", "committed_time_ms", "operation", "added_records", "total_records", "is_current")
    print_rows([{name: getattr(one, name) for name in names} for one in kept], as_json=as_json, noun="snapshot")


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


def _print_answer(context: typer.Context, data_type: str, asked: _Asked, table_columns: Sequence[str] | None) -> None:
    from k2.commands.query_output import print_pieces
    from k2.query.result import RowQuery

    output_format = _output_format(asked.output_format, as_json=False)
    columns = None if asked.columns is None else tuple(name.strip() for name in asked.columns.split(","))
    query = RowQuery(
        symbol=asked.symbol,
        exchange=asked.exchange,
        start_time_ns=_time_ns("--start", asked.start),
        end_time_ns=_time_ns("--end", asked.end),
        limit=PAGE_ROWS if asked.limit is None else min(asked.limit, PAGE_ROWS),
        columns=columns,
    )
    as_of_time_ns = _time_ns("--as-of", asked.as_of)
    with _engine(context) as engine:
        if asked.explain:
            plan = engine.explain_rows(data_type, query, snapshot_id=asked.snapshot, as_of_time_ns=as_of_time_ns)
            typer.echo(
                f"snapshot {plan.snapshot_id}: {plan.files} of {plan.snapshot_files} data files, "
                f"{plan.files_bytes:,} bytes"
            )
            typer.echo(plan.text)
            return
        pages = engine.stream_rows(
            data_type, query, snapshot_id=asked.snapshot, as_of_time_ns=as_of_time_ns, total_limit=asked.limit
        )
        first = next(pages)
        rows = (page.rows for page in itertools.chain([first], pages))
        print_pieces(first.rows.schema, rows, output_format, columns or table_columns)


def _output_format(text: str, as_json: bool) -> "OutputFormat":
    from k2.commands.query_output import OutputFormat

    try:
        return OutputFormat.JSON if as_json else OutputFormat(text)
    except ValueError:
        raise UsageError(f"--format is {', '.join(OutputFormat)}, not {text!r:.40}") from None


def _time_ns(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time_ns(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r:.60} cannot be used: {error}") from error


@contextmanager
def _engine(context: typer.Context) -> Iterator["QueryEngine"]:
    from k2.assembly.serving import query_engine

    with query_engine(settings_of(context), Metrics()) as engine:
        yield engine
