"""What passes between a query process and the one that asks: frames of a kind, a length and so many bytes."""

import struct
from enum import Enum
from typing import IO

_HEAD = struct.Struct("<cQ")


class Frame(Enum):
    """What a frame holds."""

    SETUP = b"O"
    """JSON: settings and tables of the process."""
    ASK = b"A"
    """JSON: one statement."""
    SCHEMA = b"S"
    """Arrow schema of an answer, which begins it."""
    BATCH = b"B"
    """Arrow record batch of the answer."""
    DONE = b"D"
    """Nothing: the answer is whole."""
    ERROR = b"E"
    """JSON: the error that ends the answer."""


def write_frame(stream: IO[bytes], kind: Frame, payload: bytes | memoryview = b"") -> None:
    """Send one frame."""
    stream.write(_HEAD.pack(kind.value, len(payload)))
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Frame, bytes] | None:
    """The next frame; None at the end of the stream, also in the middle of a frame."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    payload = stream.read(length)
    return (Frame(kind), payload) if len(payload) == length else None
