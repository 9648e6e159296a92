"""What a set of trades amounts to, whoever read it: how many, and a hash that order and way of writing leave alone."""

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from conformance.drivers import http
from conformance.drivers.table_view import open_table
from k2.settings import StorageSettings

NAMES = ("session", "exchange", "symbol", "session_sequence", "event_time_ns", "price", "quantity", "kafka_offset")
_DECIMALS = ("price", "quantity")

Fingerprint = list[Any]
"""Number of rows, and SHA-256 of them."""


def fingerprint(rows: Iterable[Mapping[str, Any]]) -> Fingerprint:
    """Of rows as any reader gives them; prices may be decimals or text."""
    lines = sorted("\x1f".join(_text(name, row[name]) for name in NAMES) for row in rows)
    return [len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()]


def answered_fingerprint(url: str, snapshot: Mapping[str, Any]) -> Fingerprint:
    """Of every trade the API answers, at a snapshot that these parameters name or as it is."""
    pages = http.all_pages(f"{url}/v1/trades", snapshot)
    return fingerprint(row for page in pages for row in page.body["data"])


def scanned_fingerprint(storage: StorageSettings, table: str, snapshot_id: int | None = None) -> Fingerprint:
    """Of a table as PyIceberg scans it, at a snapshot or as it is."""
    return fingerprint(open_table(storage, table).scan(snapshot_id=snapshot_id).to_arrow().select(NAMES).to_pylist())


def _text(name: str, value: Any) -> str:
    return f"{Decimal(value):.10f}" if name in _DECIMALS else str(value)
