"""The one definition of every record type (version 2). Avro, Arrow and Iceberg schemas are derived from it.

Prices and quantities are exact: decimal(28, 10). Eighteen digits before the point hold the quantities of tokens that
trade by the quadrillion, ten after it hold the finest tick, and price x quantity still fits 38 digits, so a notional is
exact in SQL. docs/decisions/0001-decimal-encoding.md has the figures.

Field ids are Iceberg's: never reused, never renumbered.
"""

from dataclasses import dataclass
from enum import Enum

DECIMAL_PRECISION = 28
DECIMAL_SCALE = 10


class Kind(Enum):
    """What a field holds, independent of any encoding."""

    STRING = "string"
    ENUM = "enum"
    LONG = "long"
    DECIMAL = "decimal"
    STRING_MAP = "map<string,string>"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        field_id: Iceberg field id.
        name: the same in Avro, Arrow, Iceberg, SQL and JSON.
        kind: what it holds.
        doc: meaning and unit, copied into the Avro schema.
        nullable: whether the exchange may leave it out.
        symbols: the values of an ENUM.
        repeats: few distinct values in a batch, so columns keep it dictionary-encoded.
    """

    field_id: int
    name: str
    kind: Kind
    doc: str
    nullable: bool = False
    symbols: tuple[str, ...] = ()
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class RecordType:
    """A kind of record, the topic part and the table it belongs to.

    Attributes:
        name: Avro record name ("Trade").
        data_type: topic part and metric label ("trades").
        table: Iceberg identifier ("market_data.trades_v2").
        fields: in wire order.
    """

    name: str
    data_type: str
    table: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


ASSET_CLASSES = ("equities", "crypto")
SIDES = ("BUY", "SELL", "UNKNOWN")
VENDOR_DATA_KEY_ID = 91
VENDOR_DATA_VALUE_ID = 92

_CORE = (
    Field(1, "session", Kind.STRING, "Feed session that carried the record.", repeats=True),
    Field(2, "session_sequence", Kind.LONG, "Position among this session's records of this type and key, from 1."),
    Field(3, "exchange", Kind.STRING, "Exchange code, upper case: ASX, BINANCE.", repeats=True),
    Field(4, "symbol", Kind.STRING, "Instrument as the exchange names it.", repeats=True),
    Field(5, "asset_class", Kind.ENUM, "Asset class.", symbols=ASSET_CLASSES),
    Field(6, "event_time_ns", Kind.LONG, "Exchange time, ns since epoch UTC; the receive time where a feed has none."),
    Field(7, "receive_time_ns", Kind.LONG, "Time of receipt, ns since epoch UTC."),
    Field(8, "source_sequence", Kind.LONG, "The exchange's sequence number where the feed has one.", nullable=True),
)
_VENUE = (
    Field(30, "venue", Kind.STRING, "Venue within the exchange.", nullable=True, repeats=True),
    Field(31, "conditions", Kind.STRING, "Sale or quote conditions as given.", nullable=True, repeats=True),
    Field(32, "vendor_data", Kind.STRING_MAP, "What only this vendor sends."),
)

TRADE = RecordType(
    "Trade",
    "trades",
    "market_data.trades_v2",
    (
        *_CORE,
        Field(10, "trade_id", Kind.STRING, "The exchange's id of the trade.", nullable=True),
        Field(11, "price", Kind.DECIMAL, "Price for one unit."),
        Field(12, "quantity", Kind.DECIMAL, "Units traded."),
        Field(13, "side", Kind.ENUM, "Side of the aggressor.", symbols=SIDES),
        *_VENUE,
    ),
)

QUOTE = RecordType(
    "Quote",
    "quotes",
    "market_data.quotes_v2",
    (
        *_CORE,
        Field(20, "quote_id", Kind.STRING, "The exchange's id of the quote.", nullable=True),
        Field(21, "bid_price", Kind.DECIMAL, "Best bid; null where there is none.", nullable=True),
        Field(22, "bid_quantity", Kind.DECIMAL, "Units at the best bid.", nullable=True),
        Field(23, "ask_price", Kind.DECIMAL, "Best ask; null where there is none.", nullable=True),
        Field(24, "ask_quantity", Kind.DECIMAL, "Units at the best ask.", nullable=True),
        *_VENUE,
    ),
)

RECORD_TYPES = {record_type.data_type: record_type for record_type in (TRADE, QUOTE)}


def topic(asset_class: str, data_type: str) -> str:
    """Kafka topic of an asset class and a data type: market.<asset_class>.<data_type>."""
    return f"market.{asset_class}.{data_type}"


def dead_letter_topic(source_topic: str) -> str:
    """Topic of the dead letters of a topic."""
    return f"{source_topic}.dlq"
