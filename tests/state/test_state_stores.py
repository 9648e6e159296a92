"""One contract for all state stores: what k2.state.store promises holds for memory, SQLite and Redis."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import BreakerSettings
from k2.state.memory import MemoryStore
from k2.state.redis_server import RedisStore
from k2.state.sqlite import SqliteStore
from k2.state.store import StateStore
from tests.resilience.manual_clock import ManualClock
from tests.state.redis_double import redis_double

MEGABYTE = 1024**2
LONG_SECONDS = 3_600.0


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    clock = SystemClock()
    if request.param == "redis":
        with redis_double() as server:
            breaker = CircuitBreaker("redis", BreakerSettings(), Metrics(), clock)
            opened = RedisStore(server.settings.model_copy(update={"redis_timeout_seconds": 10.0}), breaker)
            yield opened
            opened.close()
        return
    local: StateStore = (
        MemoryStore(MEGABYTE, clock) if request.param == "memory" else SqliteStore(tmp_path / "s.db", MEGABYTE, clock)
    )
    yield local
    local.close()


def test_a_value_is_found_under_its_key_alone(store: StateStore) -> None:
    store.put("one", b"1", LONG_SECONDS)
    store.put("two", b"2", LONG_SECONDS)
    assert (store.get("one"), store.get("two"), store.get("three")) == (b"1", b"2", None)


@pytest.mark.parametrize("value", [b"", b"\x00\r\n$-1\xff", bytes(range(256)) * 2_000])
def test_any_bytes_come_back_as_they_were(store: StateStore, value: bytes) -> None:
    store.put("key", value, LONG_SECONDS)
    assert store.get("key") == value


@pytest.mark.parametrize("key", ["", "with space", "line\nfeed", "Ключ", "'; DROP TABLE state; --", "k" * 1_000])
def test_any_text_is_a_key(store: StateStore, key: str) -> None:
    store.put(key, b"value", LONG_SECONDS)
    assert store.get(key) == b"value"


def test_the_later_value_takes_the_place_of_the_earlier(store: StateStore) -> None:
    store.put("key", b"a longer first value", LONG_SECONDS)
    store.put("key", b"second", LONG_SECONDS)
    assert store.get("key") == b"second"


def test_a_deleted_value_is_gone_and_deleting_nothing_is_no_error(store: StateStore) -> None:
    store.put("key", b"value", LONG_SECONDS)
    store.delete("key")
    store.delete("key")
    assert store.get("key") is None


def test_a_value_whose_time_is_over_is_gone(store: StateStore) -> None:
    store.put("short", b"value", 0.001)
    store.put("long", b"value", LONG_SECONDS)
    # Only as long as the value was to live: no more can be wanted of a clock.
    threading.Event().wait(0.01)
    assert (store.get("short"), store.get("long")) == (None, b"value")


def test_putting_a_value_again_gives_it_new_time(store: StateStore) -> None:
    store.put("key", b"value", 0.001)
    store.put("key", b"value", LONG_SECONDS)
    threading.Event().wait(0.01)
    assert store.get("key") == b"value"


def test_threads_never_see_half_a_value(store: StateStore) -> None:
    values = {bytes([number]) * 20_000 for number in range(4)}
    seen: set[bytes | None] = set()

    def work(value: bytes) -> None:
        for _ in range(20):
            store.put("shared", value, LONG_SECONDS)
            seen.add(store.get("shared"))

    threads = [threading.Thread(target=work, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= values


def test_a_closed_store_may_be_closed_again(store: StateStore) -> None:
    store.put("key", b"value", LONG_SECONDS)
    store.close()
    store.close()


@pytest.fixture(params=["memory", "sqlite"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[StateStore, ManualClock]]:
    """A store with room for 100 bytes, and its clock."""
    clock = ManualClock()
    make: dict[str, Callable[[], StateStore]] = {
        "memory": lambda: MemoryStore(100, clock),
        "sqlite": lambda: SqliteStore(tmp_path / "s.db", 100, clock),
    }
    opened = make[request.param]()
    yield opened, clock
    opened.close()


def test_the_oldest_value_makes_room(small: tuple[StateStore, ManualClock]) -> None:
    store, _ = small
    for number in range(1, 6):
        store.put(str(number), bytes(30), LONG_SECONDS)
    assert [number for number in range(1, 6) if store.get(str(number)) is not None] == [3, 4, 5]


def test_a_value_larger_than_all_the_room_is_not_kept_and_costs_no_other(
    small: tuple[StateStore, ManualClock],
) -> None:
    store, _ = small
    store.put("kept", bytes(50), LONG_SECONDS)
    store.put("large", b"small at first", LONG_SECONDS)
    store.put("large", bytes(101), LONG_SECONDS)
    assert (store.get("kept"), store.get("large")) == (bytes(50), None)


def test_time_is_over_exactly_then(small: tuple[StateStore, ManualClock]) -> None:
    store, clock = small
    store.put("key", b"value", 60)
    clock.advance(59.999)
    assert store.get("key") == b"value"
    clock.advance(0.001)
    assert store.get("key") is None


def test_a_file_outlives_its_process_and_is_shared(tmp_path: Path) -> None:
    first, second = (SqliteStore(tmp_path / "new" / "s.db", MEGABYTE, SystemClock()) for _ in range(2))
    first.put("key", b"value", LONG_SECONDS)
    assert second.get("key") == b"value"
    first.close()
    second.put("key", b"other", LONG_SECONDS)
    second.close()
    third = SqliteStore(tmp_path / "new" / "s.db", MEGABYTE, SystemClock())
    assert third.get("key") == b"other"
    third.close()


def test_expired_values_leave_the_file(tmp_path: Path) -> None:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "s.db", MEGABYTE, clock)
    for number in range(10):
        store.put(str(number), bytes(1_000), 10)
    clock.advance(11)
    store.put("last", b"value", 10)
    with store._using() as connection:
        assert connection.execute("SELECT key FROM state").fetchall() == [("last",)]
    store.close()


def test_a_file_that_is_no_database_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"anything else" * 1_000)
    store = SqliteStore(tmp_path / "s.db", MEGABYTE, SystemClock())
    with pytest.raises(UnavailableError, match=r"s\.db cannot be used .*delete it; nothing is lost"):
        store.get("key")
    (tmp_path / "s.db").unlink()
    store.put("key", b"value", LONG_SECONDS)
    assert store.get("key") == b"value"
    store.close()


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteStore(tmp_path / "file" / "s.db", MEGABYTE, SystemClock())
    with pytest.raises(UnavailableError, match="cannot be used"):
        store.put("key", b"value", LONG_SECONDS)
