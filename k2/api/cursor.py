"""Where a page ended, as text that clients hand back without looking inside."""

import base64
import binascii
from dataclasses import astuple, dataclass

import orjson

from k2.query.result import Position


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page and the snapshot it was read from, so that all pages come from one state of the table."""

    snapshot_id: int | None
    position: Position

    def encode(self) -> str:
        """The text of it: URL-safe base64 without padding."""
        fields = orjson.dumps([self.snapshot_id, *astuple(self.position)])
        return base64.urlsafe_b64encode(fields).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor of a text that `encode` made.

        Raises:
            ValueError: it made no such text.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            snapshot_id, *fields = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            cursor = cls(snapshot_id, Position(*fields))
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError("not a cursor of this API; take next_cursor of the page before") from error
        if not cursor._holds_what_it_should():
            raise ValueError("not a cursor of this API; take next_cursor of the page before")
        return cursor

    def _holds_what_it_should(self) -> bool:
        numbers = (self.position.event_time_ns, self.position.kafka_partition, self.position.kafka_offset)
        texts = (self.position.topic, self.position.session)
        return (
            (self.snapshot_id is None or type(self.snapshot_id) is int)
            and all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers)
            and all(isinstance(text, str) for text in texts)
        )


def next_cursor(snapshot_id: int | None, position: Position | None) -> str | None:
    """The cursor of a page that ended at this position; None where no rows follow."""
    return None if position is None else Cursor(snapshot_id, position).encode()
