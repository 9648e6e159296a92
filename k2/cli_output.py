"""What the command prints: rows as aligned columns or JSON lines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer

TRADE_COLUMNS = ("event_time", "exchange", "symbol", "price", "quantity", "side", "trade_id", "sequence_event")
QUOTE_COLUMNS = ("event_time", "exchange", "symbol", "bid_price", "bid_quantity", "ask_price", "ask_quantity")
REFERENCE_COLUMNS = ("exchange", "symbol", "name", "currency", "tick_size", "lot_size", "listing_status")
_COLUMN_GAP = "  "
_SHORT_HEADS = {"sequence_event": "sequence"}


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, as_json: bool = False, noun: str = "row"
) -> None:
    """Print rows: with all their fields as JSON lines, or these columns (none: all) for a person.

    Nothing is shortened, whatever the terminal's width: a price that is cut off is a wrong price.
    """
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, default=_text))
        return
    if not rows:
        typer.echo(f"no {noun}s")
        return
    shown = columns or tuple(rows[0])
    heads = [_SHORT_HEADS.get(name, name) for name in shown]
    cells = [[_cell(row[name]) for name in shown] for row in rows]
    is_number = [_is_number(row[name] for row in rows) for name in shown]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_number, strict=True)
        )
        typer.echo(_COLUMN_GAP.join(padded).rstrip())
    typer.echo(f"1 {noun}" if len(rows) == 1 else f"{len(rows)} {noun}s")


def _text(value: Any) -> str:
    """A value that JSON has no type for; prices in plain digits, as the API writes them."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _cell(value: Any) -> str:
    """One value as text, exact and without what says nothing: trailing zeros, the offset of UTC."""
    if value is None or value == []:
        return "-"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        precision = "microseconds" if value.microsecond % 1_000 else "milliseconds"
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", precision)
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _is_number(values: Iterable[Any]) -> bool:
    return all(value is None or isinstance(value, int | Decimal) for value in values)
