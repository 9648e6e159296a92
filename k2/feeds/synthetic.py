"""A seeded exchange: random-walk trades and quotes, faults planted in the source numbers, and the truth about them.

Everything is a function of the settings: equal settings give equal bytes on any machine (integer results only, and of
random.Random only random(), whose sequence Python guarantees). Every numbered key starts at 1. Planted are:

    gap          numbers are skipped and never sent               the record after them is GAP
    duplicate    one of the key's latest records is sent again    DUPLICATE
    reordering   a record is held back and sent a little later    the one that overtakes it is GAP, itself OUT_OF_ORDER
    reset        the numbering begins again at 1                  SESSION_RESET
    clock skew   each symbol's exchange clock is off by a constant
    bad record   one more record that breaks a rule (k2.feeds.bad_records), without a source number

The expected events follow from what was planted. So that the ruling leaves no doubt, a key has one fault at a time
(nothing else happens while a record is held back), its first record and a reset are never held back, duplicates reach
back fewer than 128 numbers and not beyond a reset, and a reset comes after more than 1,000 numbers.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

import orjson

from k2.errors import UsageError
from k2.feeds.bad_records import DEFECTS, SENDABLE, Spoiler
from k2.feeds.feed import FeedRecord, FeedStatistics, SessionCounter
from k2.feeds.instruments import Instrument, decimal_text, instrument
from k2.feeds.planted import MissingRange, PlantedKey, PlantedTruth
from k2.feeds.synthetic_stream import FaultRates, Market, Planted, Stream

Key = tuple[str, str, str]
"""Data type, exchange, symbol."""
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BTTCUSDT", "SHIBUSDT")
FEWEST_NUMBERS_BEFORE_A_RESET = 1_001

_ADDED_LATER = ("bad_rate", "defects", "venues", "conditions", "reference_data")
_EARLIEST_NS, _LATEST_NS = 10**18, 2**63 - 1
_NS_PER_DAY = 86_400 * 10**9
_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
_SHORTEST_TRANSIT_NS = 200_000
_TRANSIT_SPREAD_NS = 2_800_000


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """What to generate; UsageError for a value that makes no sense.

    Attributes:
        seed: two exchanges with equal settings send the same bytes.
        symbols: each has trades and quotes.
        records: how many to send; None for no end, and then there is no truth to ask for.
        exchange: exchange code.
        asset_class: "crypto" or "equities".
        start_time_ns: receive time before the first record, ns since epoch UTC.
        rate_per_second: records a second of exchange time, all symbols together.
        trade_share: share of trades, the rest are quotes.
        sequenced_quotes: quotes carry source numbers and faults as trades do. Off, they have a jumping id, as Binance.
        gap_rate: probability of a gap for each record of a numbered key; the next two likewise.
        duplicate_rate: of a duplicate.
        reorder_rate: of a late arrival.
        largest_gap: most numbers one gap skips.
        largest_delay: most records of the key that overtake a late one.
        reset_every: numbers after which a key's numbering begins again, at least 1,001; 0 for never.
        one_sided_rate: probability that a quote lacks a side.
        largest_clock_skew_ms: bound of each symbol's clock skew, either way.
        bad_rate: probability that a record is a bad one.
        defects: what is wrong with bad records, in turn.
        venues: each record of a trade or quote is given one; none: null.
        conditions: likewise; an empty text is null.
        reference_data: begin with a record of reference data for each symbol.
    """

    seed: int = 1
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    records: int | None = 10_000
    exchange: str = "BINANCE"
    asset_class: str = "crypto"
    start_time_ns: int = 1_723_161_600_000_000_000
    rate_per_second: int = 1_000
    trade_share: float = 0.5
    sequenced_quotes: bool = False
    gap_rate: float = 0.001
    duplicate_rate: float = 0.001
    reorder_rate: float = 0.001
    largest_gap: int = 50
    largest_delay: int = 5
    reset_every: int = 0
    one_sided_rate: float = 0.001
    largest_clock_skew_ms: int = 5
    bad_rate: float = 0.0
    defects: tuple[str, ...] = SENDABLE
    venues: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    reference_data: bool = False

    def __post_init__(self) -> None:
        fault_rates = (self.gap_rate, self.duplicate_rate, self.reorder_rate)
        _require(0 <= self.seed <= _LATEST_NS, "seed must be 0..2^63-1")
        _require(min(fault_rates) >= 0 and sum(fault_rates) <= 1, "fault rates must be 0..1 and add up to 1 at most")
        _require(0 <= self.trade_share <= 1 and 0 <= self.one_sided_rate <= 1, "shares must be 0..1")
        _require(0 < len(set(self.symbols)) == len(self.symbols), "symbols must name at least one, each once")
        _require(self.records is None or self.records >= 0, "records must be at least 0, or None for no end")
        _require(_EARLIEST_NS <= self.start_time_ns <= _LATEST_NS, "start_time_ns must have 19 digits and fit 64 bits")
        _require(1 <= self.rate_per_second <= _NS_PER_SECOND, "rate_per_second must be 1..10^9")
        _require(min(self.largest_gap, self.largest_delay) >= 1, "largest_gap and largest_delay must be at least 1")
        _require(self.largest_clock_skew_ms >= 0, "largest_clock_skew_ms must be at least 0")
        long_enough = self.reset_every == 0 or self.reset_every >= FEWEST_NUMBERS_BEFORE_A_RESET
        _require(long_enough, f"reset_every must be 0 or at least {FEWEST_NUMBERS_BEFORE_A_RESET}")
        _require(0 <= self.bad_rate <= 1, "bad_rate must be 0..1")
        _require(bool(self.defects) and set(self.defects) <= set(DEFECTS), f"defects must be of {', '.join(DEFECTS)}")


class SyntheticExchange:
    """The exchange as a feed."""

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        self._statistics = Counter[str]()

    @property
    def session(self) -> str:
        """The session of all records: "synthetic-" and a digest of the settings."""
        return _session(self.settings)

    @property
    def statistics(self) -> FeedStatistics:
        """Counts of the iteration in progress, or of the last one."""
        counts = self._statistics
        return FeedStatistics(counts["trades"], counts["quotes"], counts["reference_data"])

    def __iter__(self) -> Iterator[FeedRecord]:
        """Records in the order they are received."""
        return (record for record, _ in self.planted())

    def planted(self) -> Iterator[tuple[FeedRecord, Planted]]:
        """The same records, each with what was planted with it."""
        statistics = self._statistics = Counter[str]()
        for _, record, planted in _Generation(self.settings):
            statistics[record.data_type] += 1
            yield record, planted

    def clock_skews_ns(self) -> dict[str, int]:
        """For each symbol the exchange's clock minus the receiver's."""
        markets = (stream.market for stream in _Generation(self.settings).streams)
        return {market.instrument.symbol: market.clock_skew_ns for market in markets}

    def truth(self) -> PlantedTruth:
        """What a complete iteration plants; generated anew, so it needs no iteration before.

        Raises:
            UsageError: the exchange has no end.
        """
        _require(self.settings.records is not None, "truth needs an end, records must be a number")
        generation = _Generation(self.settings)
        events: dict[Key, list[str | None]] = {}
        missing: dict[Key, list[MissingRange]] = {}
        faults = Counter(gaps=0, duplicates=0, reorderings=0, resets=0)
        for _, record, planted in generation:
            key = (record.data_type, record.exchange, record.record["symbol"])
            events.setdefault(key, []).append(planted.event)
            if planted.fault:
                faults[planted.fault] += 1
            if planted.missing:
                missing.setdefault(key, []).append(planted.missing)
        skews = {}
        for stream in generation.streams:
            key = (stream.data_type, self.settings.exchange, stream.market.instrument.symbol)
            skews[key] = stream.market.clock_skew_ns
            if overtaken := stream.still_held_back():
                missing.setdefault(key, []).append(overtaken)
                faults["gaps"] += 1
        keys = (PlantedKey(*key, tuple(events[key]), tuple(missing.get(key, ())), skews.get(key, 0)) for key in events)
        return PlantedTruth(self.session, tuple(keys), dict(faults))


class _Generation:
    """One run of the exchange: yields (position of the stream in `streams`, record, what was planted with it).

    The position of a record of reference data is -1.
    """

    def __init__(self, settings: SyntheticSettings) -> None:
        self._settings = settings
        self._random = Random(settings.seed)
        self._spoiler = Spoiler(settings.defects)
        rates = FaultRates(
            settings.gap_rate,
            settings.duplicate_rate,
            settings.reorder_rate,
            settings.largest_gap,
            settings.largest_delay,
            settings.reset_every,
            settings.one_sided_rate,
            settings.venues,
            settings.conditions,
        )
        self._core = {
            "session": _session(settings),
            "exchange": settings.exchange,
            "asset_class": settings.asset_class,
            "venue": None,
        }
        core = {**self._core, "conditions": None}
        self.streams: list[Stream] = []
        skew_steps = 2 * settings.largest_clock_skew_ms * _NS_PER_MS + 1
        for symbol in settings.symbols:
            skew_ns = int(self._random.random() * skew_steps) - settings.largest_clock_skew_ms * _NS_PER_MS
            market = Market(instrument(symbol), skew_ns)
            self.streams.append(Stream("trades", market, rates, core, sequenced=True))
            self.streams.append(Stream("quotes", market, rates, core, sequenced=settings.sequenced_quotes))

    def __iter__(self) -> Iterator[tuple[int, FeedRecord, Planted]]:
        settings = self._settings
        random = self._random
        counter = SessionCounter()
        longest_wait_ns = 2 * (_NS_PER_SECOND // settings.rate_per_second)
        receive_time_ns = settings.start_time_ns
        introduced = settings.symbols if settings.reference_data else ()
        for number in count() if settings.records is None else range(settings.records):
            if number < len(introduced):
                receive_time_ns += 1
                yield -1, self._introduction(introduced[number], receive_time_ns), Planted(None)
                continue
            receive_time_ns += 1 + int(random.random() * longest_wait_ns)
            exchange_time_ns = receive_time_ns - _SHORTEST_TRANSIT_NS - int(random.random() * _TRANSIT_SPREAD_NS)
            symbol_position = int(random.random() * len(settings.symbols))
            position = 2 * symbol_position + (random.random() >= settings.trade_share)
            content, planted = self._next(self.streams[position], exchange_time_ns, receive_time_ns)
            data_type, exchange = self.streams[position].data_type, content["exchange"]
            session_sequence = counter.next(data_type, exchange, content["symbol"])
            # A copy, because a duplicate has the same content at another place and time.
            record = content | {"session_sequence": session_sequence, "receive_time_ns": receive_time_ns}
            yield position, FeedRecord(data_type, settings.asset_class, exchange, record), planted

    def _next(self, stream: Stream, exchange_time_ns: int, receive_time_ns: int) -> tuple[dict[str, Any], Planted]:
        # Nothing is drawn where no bad record is asked for, so such an exchange is what it always was.
        bad_rate = self._settings.bad_rate
        if bad_rate and self._spoiler.can_spoil(stream.data_type) and self._random.random() < bad_rate:
            good = stream.content(self._random, exchange_time_ns) | {"receive_time_ns": receive_time_ns}
            defect, content = self._spoiler.spoil(stream.data_type, good)
            return content, Planted(None, defect=defect)
        return stream.send(self._random, exchange_time_ns)

    def _introduction(self, symbol: str, receive_time_ns: int) -> FeedRecord:
        settings, described = self._settings, instrument(symbol)
        record = {
            **self._core,
            "symbol": symbol,
            "session_sequence": 1,
            "event_time_ns": receive_time_ns,
            "receive_time_ns": receive_time_ns,
            "source_sequence": None,
            "vendor_data": {},
            **_description(described),
            "valid_from_ns": settings.start_time_ns - settings.start_time_ns % _NS_PER_DAY,
        }
        return FeedRecord("reference_data", settings.asset_class, settings.exchange, record)


def _description(described: Instrument) -> dict[str, Any]:
    return {
        "name": described.name or described.symbol,
        "isin": described.isin,
        "currency": described.currency,
        "tick_size": decimal_text(1, described.price_decimals),
        "lot_size": decimal_text(1, described.quantity_decimals),
        "listing_status": "ACTIVE",
        "listed_at_ns": None,
        "delisted_at_ns": None,
    }


def _session(settings: SyntheticSettings) -> str:
    # A rate given as 0 equals one given as 0.0, so both must be the same session. What was added later counts only
    # where it is used: an exchange that was there before keeps its session.
    rates = {rate.name: float(getattr(settings, rate.name)) for rate in fields(settings) if rate.type is float}
    values = asdict(settings) | rates
    for added in fields(settings):
        if added.name in _ADDED_LATER and getattr(settings, added.name) == added.default:
            del values[added.name]
    return "synthetic-" + sha256(orjson.dumps(values)).hexdigest()[:12]


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"synthetic exchange: {rule}; change the settings")
