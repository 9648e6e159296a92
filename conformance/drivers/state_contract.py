"""The contract of state stores (k2.state.store), as facts about one store whatever it keeps its values in."""

import threading
from collections.abc import Callable
from typing import Any

from conformance.drivers.facts import record_fact
from conformance.history import HistoryWriter
from k2.state.store import StateStore

LONG_SECONDS = 3_600.0
SHORT_SECONDS = 0.02
_WRITERS, _ROUNDS = 4, 25
LARGE = bytes(range(256)) * 4_096


def observe_contract(history: HistoryWriter, store: StateStore, other: StateStore, run: str) -> None:
    """Facts: what the port promises, seen on a store; `other` is a second client of the same values.

    Args:
        history: takes the facts.
        store: the store.
        other: another one on the same file or server; the same one where there can be no other.
        run: begins every key, so that nobody else's values are touched.
    """

    def key(name: str) -> str:
        return f"{run}:{name}"

    def put_and_get(name: str, *values: bytes) -> str:
        for value in values:
            store.put(key(name), value, LONG_SECONDS)
        return _told(store.get(key(name)), values[-1])

    def expired() -> list[bool]:
        store.put(key("short"), b"value", SHORT_SECONDS)
        store.put(key("renewed"), b"value", SHORT_SECONDS)
        store.put(key("renewed"), b"value", LONG_SECONDS)
        threading.Event().wait(4 * SHORT_SECONDS)
        return [store.get(key("short")) is None, store.get(key("renewed")) == b"value"]

    def deleted() -> list[bool]:
        store.put(key("deleted"), b"value", LONG_SECONDS)
        found = store.get(key("deleted")) is not None
        store.delete(key("deleted"))
        store.delete(key("deleted"))
        return [found, store.get(key("deleted")) is None]

    def apart() -> list[bool]:
        store.put(key("one"), b"1", LONG_SECONDS)
        store.put(key("two"), b"2", LONG_SECONDS)
        return [store.get(key(name)) == value for name, value in (("one", b"1"), ("two", b"2"), ("three", None))]

    def shared() -> list[bool]:
        store.put(key("shared"), b"from one", LONG_SECONDS)
        seen = other.get(key("shared")) == b"from one"
        other.put(key("shared"), b"from the other", LONG_SECONDS)
        return [seen, store.get(key("shared")) == b"from the other"]

    facts: dict[str, tuple[Any, Callable[..., Any], tuple[Any, ...]]] = {
        "an empty value": ("as put", put_and_get, ("empty", b"")),
        "a megabyte of every byte": ("as put", put_and_get, ("large", LARGE)),
        "the later of two values": ("as put", put_and_get, ("later", b"a longer first one", b"second")),
        "a key of any letters": ("as put", put_and_get, ("line\nfeed 'Ключ'", b"value")),
        "keys are apart": ([True] * 3, apart, ()),
        "a deleted value": ([True] * 2, deleted, ()),
        "a value whose time is over": ([True] * 2, expired, ()),
        "another client": ([True] * 2, shared, ()),
        "values that were half written": (0, _half_values, (store, other, key("contended"))),
    }
    for name, (expected, observe, arguments) in facts.items():
        record_fact(history, f"{store.name}: {name}", expected, observe, *arguments)


def _half_values(store: StateStore, other: StateStore, key: str) -> int:
    """How many values were seen that nobody had put, while several put theirs at once."""
    values = {bytes([number]) * 30_000 for number in range(_WRITERS)}
    seen: set[bytes | None] = set()

    def work(client: StateStore, value: bytes) -> None:
        for _ in range(_ROUNDS):
            client.put(key, value, LONG_SECONDS)
            seen.add(client.get(key))

    clients = [store, other] * _WRITERS
    threads = [threading.Thread(target=work, args=pair) for pair in zip(clients, values, strict=False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Nothing seen at all would be no answer either.
    return len(seen - values) if seen else -1


def _told(found: bytes | None, put: bytes) -> str:
    return "as put" if found == put else f"{None if found is None else len(found)} bytes, not the {len(put)} put"
