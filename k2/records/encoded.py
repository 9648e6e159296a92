"""What a batch of records becomes: messages, and the records that are refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from k2.errors import RecordError


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that is not sent: its place in the batch, and why."""

    index: int
    error: RecordError


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The messages of a batch, in the order of its records.

    Attributes:
        keys: exchange:symbol of each message.
        values: each message's value.
        indices: the place in the batch of each message's record.
        refusals: the records that have no message.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    indices: Sequence[int]
    refusals: tuple[Refusal, ...] = ()


def message_key(exchange: str, symbol: str) -> bytes:
    """The key under which the records of an instrument stand in one partition, in order."""
    return f"{exchange}:{symbol}".encode()
