"""The one definition of every record type (version 2). Avro, Arrow and Iceberg schemas are derived from it.

Prices and quantities are exact: decimal(28, 10). Eighteen digits before the point hold the quantities of tokens that
trade by the quadrillion, ten after it hold the finest tick, and price x quantity still fits 38 digits, so a notional is
exact in SQL. docs/decisions/0001-decimal-encoding.md has the figures.

Field ids are Iceberg's: never reused, never renumbered. A definition grows by fields that may be null, each marked with
the revision that brought it (`since`); so every earlier revision can be told from the latest, and what was written
under it stays readable. docs/records.md has the rules.
"""

from dataclasses import dataclass, replace
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
        since: revision of the record type that brought it, from 1; one of a later revision must be nullable.
    """

    field_id: int
    name: str
    kind: Kind
    doc: str
    nullable: bool = False
    symbols: tuple[str, ...] = ()
    repeats: bool = False
    since: int = 1


@dataclass(frozen=True, slots=True)
class RecordType:
    """A kind of record, the topic part and the table it belongs to.

    Attributes:
        name: Avro record name ("Trade").
        data_type: topic part and metric label ("trades").
        table: Iceberg identifier ("market_data.trades_v2").
        fields: in wire order.
        is_continuous: whether records keep coming while the exchange is open, so that silence means something is wrong.
        identifier: the field with the exchange's id of a record, which two deliveries of it share; None without one.
    """

    name: str
    data_type: str
    table: str
    fields: tuple[Field, ...]
    is_continuous: bool = True
    identifier: str | None = None

    @property
    def revision(self) -> int:
        """The latest revision, from 1."""
        return max(field.since for field in self.fields)

    def at_revision(self, revision: int) -> "RecordType":
        """The record type as it was: without what later revisions brought."""
        return replace(self, fields=tuple(field for field in self.fields if field.since <= revision))

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


ASSET_CLASSES = ("equities", "crypto")
EXCHANGES = ("ASX", "BINANCE", "NASDAQ", "NYSE")
"""Known unless the settings name others: a table has a partition for each, and metrics a label."""
SIDES = ("BUY", "SELL", "UNKNOWN")
LISTING_STATUSES = ("ACTIVE", "HALTED", "DELISTED", "UNKNOWN")
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
_VENUE = Field(30, "venue", Kind.STRING, "Venue within the exchange.", nullable=True, repeats=True)
_CONDITIONS = Field(31, "conditions", Kind.STRING, "Sale or quote conditions as given.", nullable=True, repeats=True)
_VENDOR_DATA = Field(32, "vendor_data", Kind.STRING_MAP, "What only this vendor sends.")

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
        _VENUE,
        _CONDITIONS,
        _VENDOR_DATA,
    ),
    identifier="trade_id",
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
        _VENUE,
        _CONDITIONS,
        _VENDOR_DATA,
    ),
    identifier="quote_id",
)

REFERENCE_DATA = RecordType(
    "ReferenceData",
    "reference_data",
    "market_data.reference_data_v2",
    (
        *_CORE,
        Field(40, "name", Kind.STRING, "Name of the company or the asset."),
        Field(41, "isin", Kind.STRING, "International Securities Identification Number.", nullable=True),
        Field(42, "currency", Kind.STRING, "What prices are quoted in: AUD, USDT.", repeats=True),
        Field(43, "tick_size", Kind.DECIMAL, "Smallest step of a price.", nullable=True),
        Field(44, "lot_size", Kind.DECIMAL, "Smallest step of a quantity.", nullable=True),
        Field(45, "listing_status", Kind.ENUM, "Whether the instrument can be traded.", symbols=LISTING_STATUSES),
        Field(46, "listed_at_ns", Kind.LONG, "First day of trading, ns since epoch UTC.", nullable=True),
        Field(47, "delisted_at_ns", Kind.LONG, "End of the last day of trading, ns since epoch UTC.", nullable=True),
        Field(48, "valid_from_ns", Kind.LONG, "From when all of this holds, ns since epoch UTC."),
        _VENUE,
        _VENDOR_DATA,
    ),
    is_continuous=False,
)

RECORD_TYPES = {record_type.data_type: record_type for record_type in (TRADE, QUOTE, REFERENCE_DATA)}


def topic(asset_class: str, data_type: str, prefix: str = "") -> str:
    """Kafka topic of an asset class and a data type: market.<asset_class>.<data_type>, behind a prefix if there is one.

    The prefix is that of settings.kafka.topic_prefix, which lets several platforms share a cluster.
    """
    return f"{prefix}market.{asset_class}.{data_type}"


def dead_letter_topic(source_topic: str) -> str:
    """Topic of the dead letters of a topic."""
    return f"{source_topic}.dlq"


def source_topics(prefix: str = "") -> tuple[str, ...]:
    """Every topic that records are sent to."""
    return tuple(topic(asset_class, data_type, prefix) for asset_class in ASSET_CLASSES for data_type in RECORD_TYPES)


def all_topics(prefix: str = "") -> tuple[str, ...]:
    """Every topic of a platform, those of dead letters included."""
    sources = source_topics(prefix)
    return (*sources, *(dead_letter_topic(name) for name in sources))
