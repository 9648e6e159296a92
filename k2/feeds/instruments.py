"""Instruments of the synthetic exchange: what they are, how finely each trades, and where its price starts."""

from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Instrument:
    """How one symbol trades. Prices and quantities are whole numbers of steps, so they are exact.

    Attributes:
        symbol: as the exchange names it.
        price_decimals: digits after the point of a price; one step is the tick.
        start_ticks: first price, in ticks.
        quantity_decimals: digits after the point of a quantity.
        largest_lots: largest quantity, in steps of its last digit.
        name: of the company or the asset; the symbol if empty.
        currency: what prices are quoted in.
        isin: International Securities Identification Number.
    """

    symbol: str
    price_decimals: int
    start_ticks: int
    quantity_decimals: int
    largest_lots: int
    name: str = ""
    currency: str = "USD"
    isin: str | None = None

    def price(self, ticks: int) -> str:
        """A price as decimal text."""
        return decimal_text(ticks, self.price_decimals)

    def quantity(self, lots: int) -> str:
        """A quantity as decimal text."""
        return decimal_text(lots, self.quantity_decimals)


_KNOWN = {
    instrument.symbol: instrument
    for instrument in (
        Instrument("BTCUSDT", 2, 6_168_599, 5, 300_000, "Bitcoin", "USDT"),
        Instrument("ETHUSDT", 2, 268_162, 4, 500_000, "Ether", "USDT"),
        # The finest tick there is, and quantities that do not fit an 18-digit decimal of ten places.
        Instrument("BTTCUSDT", 10, 6_800, 0, 900_000_000_000, "BitTorrent", "USDT"),
        Instrument("SHIBUSDT", 8, 1_371, 0, 40_000_000_000, "Shiba Inu", "USDT"),
        Instrument("BHP", 3, 41_520, 0, 5_000, "BHP Group Limited", "AUD", "AU000000BHP4"),
        Instrument("RIO", 3, 114_310, 0, 2_000, "Rio Tinto Limited", "AUD", "AU000000RIO1"),
    )
}


def instrument(symbol: str) -> Instrument:
    """The instrument of a symbol; one the exchange does not know trades in hundredths from a price its name decides."""
    known = _KNOWN.get(symbol)
    return known or Instrument(symbol, 2, 1_000 + crc32(symbol.encode()) % 100_000, 2, 1_000_000)


def decimal_text(steps: int, decimals: int) -> str:
    """`steps` x 10^-decimals as decimal text; `steps` is not negative."""
    if decimals == 0:
        return str(steps)
    whole, fraction = divmod(steps, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"
