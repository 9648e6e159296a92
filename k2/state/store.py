"""The port to a state store: values of bytes by key, each for a limited time.

What every store promises, and tests/state/test_state_stores.py shows of each:

- A value is whole or not there; two writers of one key leave the value of one of them.
- A `get` that begins after a `put` has returned finds that value or a later one, until it is deleted or its time is
  over.
- Except that any store may forget anything at any time: for want of room, because it was emptied, because it was
  started anew. So nothing may depend on a value being there, and whoever must have it keeps it somewhere else.
- A store that does not answer says so within its time limit, and keeps working when it is back.

No store is believed: bytes may have been changed by whoever else can reach it. Who reads them must be able to tell.
"""

from typing import Protocol


class StateStore(Protocol):
    """One store; safe to share between threads.

    Attributes:
        name: "memory", "sqlite" or "redis", for metrics and logs.
    """

    name: str

    def get(self, key: str) -> bytes | None:
        """The value, or None if there is none (any more).

        Raises:
            UnavailableError: the store does not answer.
            RefusedError: it answers and refuses.
        """

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for so long, in place of any other under its key.

        Raises:
            UnavailableError: the store does not answer; the value may be kept all the same.
            RefusedError: it answers and refuses.
        """

    def delete(self, key: str) -> None:
        """Forget a value, if there is one.

        Raises:
            UnavailableError: the store does not answer; the value may be forgotten all the same.
            RefusedError: it answers and refuses.
        """

    def close(self) -> None:
        """Let go of connections and files."""
