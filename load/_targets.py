"""What there is to ask for, found out by asking the API itself."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LOOKED_AT_ROWS = 2_000
Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Answers a GET of a path with parameters as a JSON document."""


@dataclass(frozen=True, slots=True)
class Target:
    """One instrument, and the time its trades span (ns since the epoch)."""

    exchange: str
    symbol: str
    first_ns: int
    last_ns: int

    def window(self, seconds: float, chance: random.Random) -> dict[str, Any]:
        """Parameters of so many seconds of it, around one of its trades' times."""
        length_ns = round(seconds * 1e9)
        start_ns = chance.randint(self.first_ns, max(self.first_ns, self.last_ns - length_ns))
        return {**self.instrument, "start_time": start_ns, "end_time": start_ns + length_ns}

    @property
    def instrument(self) -> dict[str, Any]:
        """Parameters that name it."""
        return {"exchange": self.exchange, "symbol": self.symbol}


def find_targets(ask: Ask, most: int) -> Sequence[Target]:
    """Instruments with trades, at most so many.

    Raises:
        LookupError: there are no trades.
    """
    targets = []
    for listed in ask("/v1/symbols", {"data_type": "trades"})["data"][:most]:
        instrument = {"exchange": listed["exchange"], "symbol": listed["symbol"]}
        rows = ask("/v1/trades", {**instrument, "limit": LOOKED_AT_ROWS})["data"]
        if rows:
            targets.append(Target(**instrument, first_ns=int(rows[0]["event_time_ns"]), last_ns=_last_ns(rows)))
    if not targets:
        raise LookupError("the API has no trades to ask for: feed some first")
    return targets


def _last_ns(rows: Sequence[Mapping[str, Any]]) -> int:
    return int(rows[-1]["event_time_ns"])
