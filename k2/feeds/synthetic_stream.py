"""How one key of the synthetic exchange numbers its records, and which faults it plants among them."""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from k2.feeds.instruments import Instrument
from k2.feeds.planted import MissingRange

FURTHEST_DUPLICATE = 127
"""Numbers a duplicate lies behind the highest at most; further back the ruling is TOO_OLD."""

_RECENT_RECORDS = 4
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Probability of each fault for each record, and the faults' sizes; see SyntheticSettings."""

    gap_rate: float
    duplicate_rate: float
    reorder_rate: float
    largest_gap: int
    largest_delay: int
    reset_every: int
    one_sided_rate: float
    venues: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planted:
    """What was planted with one record.

    Attributes:
        event: expected sequence event; None for a record without a source number.
        fault: the fault this record completes, "" for none.
        missing: numbers skipped before it that will never be sent.
        overtaken: number of the record that was held back and that this one overtook.
        numbering: which numbering of its key it belongs to, from 1; a reset begins the next.
        defect: what is wrong with a bad record (k2.feeds.bad_records), "" for a good one.
    """

    event: str | None
    fault: str = ""
    missing: MissingRange | None = None
    overtaken: int | None = None
    numbering: int = 1
    defect: str = ""


_IN_ORDER = Planted("IN_ORDER")
_LATE = Planted("OUT_OF_ORDER", "reorderings")
_DUPLICATE = Planted("DUPLICATE", "duplicates")
_NO_NUMBER = Planted(None)


class Market:
    """The price of one instrument: a random walk of whole ticks, shared by its trades and quotes."""

    def __init__(self, instrument: Instrument, clock_skew_ns: int) -> None:
        self.instrument = instrument
        self.clock_skew_ns = clock_skew_ns
        self._ticks = instrument.start_ticks

    def next_ticks(self, random: Random) -> int:
        """Walk one step. A price has room for a bid two ticks below it."""
        draw = random.random()
        if draw < 0.25:
            self._ticks = max(3, self._ticks - 1)
        elif draw >= 0.75:
            self._ticks += 1
        return self._ticks


class Stream:
    """All records of one (data_type, symbol), as contents that the feed still has to place in its session."""

    def __init__(
        self, data_type: str, market: Market, rates: FaultRates, core: dict[str, Any], *, sequenced: bool
    ) -> None:
        """A stream that has sent nothing.

        Args:
            data_type: "trades" or "quotes".
            market: where prices come from.
            rates: which faults to plant, and how often.
            core: the fields that are the same in all records of the exchange.
            sequenced: records carry source numbers.
        """
        self.data_type = data_type
        self.market = market
        self._rates = rates
        self._core = core
        self._sequenced = sequenced
        self._numbering = 1
        self._last = 0
        self._recent: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_RECENT_RECORDS)
        self._held_back: tuple[int, dict[str, Any]] | None = None
        self._overtakers_left = 0

    def still_held_back(self) -> MissingRange | None:
        """The number of a record that others overtook and that has not been sent."""
        if self._held_back is None:
            return None
        return MissingRange(self._numbering, self._held_back[0], self._held_back[0])

    def send(self, random: Random, exchange_time_ns: int) -> tuple[dict[str, Any], Planted]:
        """The next record to reach the receiver, and what is planted with it."""
        if not self._sequenced:
            self._last += 1 + int(random.random() * 40)
            return self.content(random, exchange_time_ns), _NO_NUMBER
        if self._held_back is not None:
            return self._overtake_or_release(random, exchange_time_ns)
        if self._last == 0:
            return self._fresh(random, exchange_time_ns), _IN_ORDER
        rates = self._rates
        if rates.reset_every and self._last >= rates.reset_every:
            self._numbering += 1
            self._last = 0
            self._recent.clear()
            return self._fresh(random, exchange_time_ns), Planted("SESSION_RESET", "resets", numbering=self._numbering)
        draw = random.random()
        if draw < rates.gap_rate:
            return self._after_gap(random, exchange_time_ns)
        draw -= rates.gap_rate
        if draw < rates.duplicate_rate:
            return self._again(random), _DUPLICATE
        if draw - rates.duplicate_rate < rates.reorder_rate:
            self._last += 1
            self._held_back = (self._last, self.content(random, exchange_time_ns))
            self._overtakers_left = int(random.random() * rates.largest_delay)
            overtakes = Planted("GAP", overtaken=self._last, numbering=self._numbering)
            return self._fresh(random, exchange_time_ns), overtakes
        return self._fresh(random, exchange_time_ns), _IN_ORDER

    def _overtake_or_release(self, random: Random, exchange_time_ns: int) -> tuple[dict[str, Any], Planted]:
        if self._overtakers_left:
            self._overtakers_left -= 1
            return self._fresh(random, exchange_time_ns), _IN_ORDER
        assert self._held_back is not None
        late = self._held_back
        self._held_back = None
        self._recent.append(late)
        return late[1], _LATE

    def _after_gap(self, random: Random, exchange_time_ns: int) -> tuple[dict[str, Any], Planted]:
        skipped = 1 + int(random.random() * self._rates.largest_gap)
        missing = MissingRange(self._numbering, self._last + 1, self._last + skipped)
        self._last += skipped
        return self._fresh(random, exchange_time_ns), Planted("GAP", "gaps", missing, numbering=self._numbering)

    def _again(self, random: Random) -> dict[str, Any]:
        # The record with the highest number is always among the recent ones, so there is one to choose.
        near = [content for number, content in self._recent if self._last - number <= FURTHEST_DUPLICATE]
        return near[int(random.random() * len(near))]

    def _fresh(self, random: Random, exchange_time_ns: int) -> dict[str, Any]:
        self._last += 1
        content = self.content(random, exchange_time_ns)
        self._recent.append((self._last, content))
        return content

    def content(self, random: Random, exchange_time_ns: int) -> dict[str, Any]:
        """A record of the latest number, but for its place in the session and the time of receipt."""
        event_time_ms = (exchange_time_ns + self.market.clock_skew_ns) // _NS_PER_MS
        content = {
            **self._core,
            "symbol": self.market.instrument.symbol,
            "event_time_ns": event_time_ms * _NS_PER_MS,
            "source_sequence": self._last if self._sequenced else None,
            # "E", the time of sending, is what Binance adds to both messages.
            "vendor_data": {"E": str(event_time_ms + int(random.random() * 3))},
        }
        content.update(self._trade(random) if self.data_type == "trades" else self._quote(random))
        # Drawn last and only where asked for, so that exchanges without them are what they were.
        if self._rates.venues:
            content["venue"] = _one_of(random, self._rates.venues)
        if self._rates.conditions:
            content["conditions"] = _one_of(random, self._rates.conditions) or None
        return content

    def _trade(self, random: Random) -> dict[str, Any]:
        instrument = self.market.instrument
        return {
            "trade_id": str(self._last),
            "price": instrument.price(self.market.next_ticks(random)),
            "quantity": instrument.quantity(_lots(random, instrument)),
            "side": "BUY" if random.random() < 0.5 else "SELL",
        }

    def _quote(self, random: Random) -> dict[str, Any]:
        instrument = self.market.instrument
        ticks = self.market.next_ticks(random)
        quote: dict[str, Any] = {
            "quote_id": str(self._last),
            "bid_price": instrument.price(ticks - 1 - int(random.random() * 2)),
            "bid_quantity": instrument.quantity(_lots(random, instrument)),
            "ask_price": instrument.price(ticks + 1 + int(random.random() * 2)),
            "ask_quantity": instrument.quantity(_lots(random, instrument)),
        }
        if random.random() < self._rates.one_sided_rate:
            side = "bid" if random.random() < 0.5 else "ask"
            quote[f"{side}_price"] = quote[f"{side}_quantity"] = None
        return quote


def _one_of(random: Random, choices: tuple[str, ...]) -> str:
    return choices[int(random.random() * len(choices))]


def _lots(random: Random, instrument: Instrument) -> int:
    # The product of two draws makes small orders common and large ones rare.
    return 1 + int(random.random() * random.random() * instrument.largest_lots)
