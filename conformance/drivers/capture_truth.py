"""An independent reading of a Binance capture: what a platform that lost and changed nothing must hold.

Written from Binance's own description of its streams, with the json module, sharing nothing with K2's reader.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class CaptureTruth:
    """What a capture holds.

    Attributes:
        records: for each data type, the records in file order, without session.
        lines: number of lines.
        others: lines that are neither a trade nor a best bid and offer, by kind.
    """

    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"trades": [], "quotes": []})
    lines: int = 0
    others: Counter[str] = field(default_factory=Counter)


def read_truth(path: Path) -> CaptureTruth:
    """Read one capture; session_sequence counts from 1 for each type and symbol."""
    truth = CaptureTruth()
    positions: Counter[tuple[str, str]] = Counter()
    for line in _lines(path):
        truth.lines += 1
        stamp, text = line.split(" ", 1)
        message = json.loads(text)
        kind = message.get("stream", "").split("@")[-1] if "stream" in message else "reply"
        if kind not in ("trade", "bookTicker"):
            truth.others["depth" if kind.startswith("depth") or message.get("stream", "").count("depth") else kind] += 1
            continue
        data = message["data"]
        data_type = "trades" if kind == "trade" else "quotes"
        positions[data_type, data["s"]] += 1
        record = _trade(data) if data_type == "trades" else _quote(data)
        event_ms = data.get("T")
        receive_ns = int(stamp)
        record |= {
            "session_sequence": positions[data_type, data["s"]],
            "exchange": "BINANCE",
            "symbol": data["s"],
            "asset_class": "crypto",
            "event_time_ns": receive_ns if event_ms is None else event_ms * _NS_PER_MS,
            "receive_time_ns": receive_ns,
            "source_sequence": data["t"] if data_type == "trades" else None,
        }
        truth.records[data_type].append(record)
    return truth


def _trade(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "trade_id": str(data["t"]),
        "price": Decimal(data["p"]),
        "quantity": Decimal(data["q"]),
        "side": "SELL" if data["m"] else "BUY",
    }


def _quote(data: dict[str, Any]) -> dict[str, Any]:
    values = {name: Decimal(data[letter]) for name, letter in _QUOTE_VALUES}
    for side in ("bid", "ask"):
        if values[f"{side}_price"] == 0 and values[f"{side}_quantity"] == 0:
            values |= {f"{side}_price": None, f"{side}_quantity": None}  # type: ignore[dict-item]
    return {"quote_id": str(data["u"]), **values}


_QUOTE_VALUES = (("bid_price", "b"), ("bid_quantity", "B"), ("ask_price", "a"), ("ask_quantity", "A"))


def _lines(path: Path) -> Iterable[str]:
    with gzip.open(path, "rt") as file:
        yield from file
