"""The cache of checkpoints: believed only where the bytes are those the table names, and never in anybody's way."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2.assembly.state import open_checkpoint_cache
from k2.clock import SystemClock
from k2.errors import RefusedError, StateLostError, UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import BreakerSettings, StateSettings
from k2.state.checkpoint_cache import CheckpointCache
from k2.state.memory import MemoryStore
from k2.storage.checkpoints import checkpoint_path, path_digest, read_checkpoint, to_bytes
from k2.storage.progress import PartitionKey
from tests.state.redis_double import redis_double

BODY = b"the bytes of a checkpoint"
DIGEST = hashlib.sha256(BODY).hexdigest()
MEGABYTE = 1024**2
KEY = PartitionKey("cluster", "topic", 3)
STATE = pa.table({"a": [1, 2, 3]})


class Broken(MemoryStore):
    """A store that is away, or refuses."""

    name = "redis"

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(MEGABYTE, SystemClock())
        self.error = error

    def get(self, key: str) -> bytes | None:
        if self.error is not None:
            raise self.error
        return super().get(key)

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        if self.error is not None:
            raise self.error
        super().put(key, value, ttl_seconds)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def reads(metrics: Metrics, store: str, outcome: str) -> float:
    return metrics.value("k2_state_cache_reads_total", {"store": store, "outcome": outcome})


def writes(metrics: Metrics, store: str, outcome: str) -> float:
    return metrics.value("k2_state_cache_writes_total", {"store": store, "outcome": outcome})


def memory() -> MemoryStore:
    return MemoryStore(MEGABYTE, SystemClock())


def test_what_was_put_is_found_in_the_first_store_that_has_it(metrics: Metrics) -> None:
    first, second = Broken(), memory()
    cache = CheckpointCache([first, second], 60, metrics)
    assert cache.get(DIGEST) is None
    cache.put(DIGEST, BODY)
    assert cache.get(DIGEST) == BODY
    first.close()
    assert cache.get(DIGEST) == BODY
    assert (reads(metrics, "redis", "hit"), reads(metrics, "redis", "miss")) == (1, 2)
    assert (reads(metrics, "memory", "hit"), reads(metrics, "memory", "miss")) == (1, 1)


def test_altered_bytes_are_passed_by(metrics: Metrics) -> None:
    first, second = Broken(), memory()
    cache = CheckpointCache([first, second], 60, metrics)
    cache.put(DIGEST, BODY)
    for lie in (b"", BODY[:-1], BODY + b"x", "text"):
        first.put(f"k2:state:{DIGEST}", lie, 60)  # type: ignore[arg-type]
        assert cache.get(DIGEST) == BODY
    assert (reads(metrics, "redis", "altered"), reads(metrics, "redis", "hit")) == (4, 0)


@pytest.mark.parametrize("error", [UnavailableError("away"), RefusedError("no")])
def test_a_store_that_fails_is_counted_and_said_once(
    metrics: Metrics, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Broken(error)
    cache = CheckpointCache([first, memory()], 60, metrics)
    for _ in range(3):
        cache.put(DIGEST, BODY)
        assert cache.get(DIGEST) == BODY
    assert (reads(metrics, "redis", "failed"), writes(metrics, "redis", "failed")) == (3, 3)
    assert capsys.readouterr().out.count("state cache without a store") == 1
    first.error = None
    cache.put(DIGEST, BODY)
    assert writes(metrics, "redis", "success") == 1
    first.error = error
    cache.put(DIGEST, BODY)
    assert capsys.readouterr().out.count("state cache without a store") == 1


def written(folder: Path) -> str:
    path = checkpoint_path(str(folder), KEY, 7, "id", to_bytes(STATE))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(to_bytes(STATE))
    return path


def test_a_checkpoint_that_is_cached_is_not_asked_of_the_warehouse(tmp_path: Path, metrics: Metrics) -> None:
    cache, path = CheckpointCache([memory()], 60, metrics), written(tmp_path)
    assert read_checkpoint(PyArrowFileIO(), path, cache) == STATE
    Path(path).unlink()
    assert read_checkpoint(PyArrowFileIO(), path, cache) == STATE
    with pytest.raises(StateLostError):
        read_checkpoint(PyArrowFileIO(), path)


def test_a_lie_in_the_cache_is_mended_from_the_warehouse(tmp_path: Path, metrics: Metrics) -> None:
    store, path = memory(), written(tmp_path)
    cache = CheckpointCache([store], 60, metrics)
    other = to_bytes(pa.table({"a": [4]}))
    store.put(f"k2:state:{path_digest(path)}", other, 60)
    assert read_checkpoint(PyArrowFileIO(), path, cache) == STATE
    assert cache.get(str(path_digest(path))) == to_bytes(STATE)


def test_what_the_warehouse_lost_and_altered_never_enters_the_cache(tmp_path: Path, metrics: Metrics) -> None:
    cache, path = CheckpointCache([memory()], 60, metrics), written(tmp_path)
    Path(path).write_bytes(to_bytes(pa.table({"a": [4]})))
    with pytest.raises(StateLostError, match="was altered"):
        read_checkpoint(PyArrowFileIO(), path, cache)
    assert writes(metrics, "memory", "success") == 0


def test_a_name_without_a_digest_is_read_past_the_cache(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "topic-3-7-0a1b2c3d-0000-1111-2222-333344445555.arrow"
    path.write_bytes(to_bytes(STATE))
    assert path_digest(str(path)) is None
    assert read_checkpoint(PyArrowFileIO(), str(path), CheckpointCache([memory()], 60, metrics)) == STATE
    assert reads(metrics, "memory", "miss") == 0


@pytest.mark.parametrize(
    ("kind", "stores", "probed"),
    [
        ("none", [], []),
        ("memory", ["memory"], []),
        ("sqlite", ["sqlite"], []),
        ("redis", ["redis", "sqlite"], [Dependency.REDIS]),
    ],
)
def test_the_settings_choose_the_stores(
    tmp_path: Path, metrics: Metrics, kind: str, stores: list[str], probed: list[Dependency]
) -> None:
    with redis_double() as server:
        settings = StateSettings(
            **{**server.settings.model_dump(), "kind": kind, "sqlite_path": tmp_path / "s.db"},
        )
        breakers = CircuitBreakers(BreakerSettings(), metrics, SystemClock())
        cache, probes = open_checkpoint_cache(settings, breakers, metrics, SystemClock())
        assert list(probes) == probed
        assert (cache is None) == (kind == "none")
        if cache is not None:
            cache.put(DIGEST, BODY)
            assert cache.get(DIGEST) == BODY
            cache.close()
        assert [name for name in ("memory", "redis", "sqlite") if writes(metrics, name, "success")] == sorted(stores)
        assert (tmp_path / "s.db").exists() == ("sqlite" in stores)


def test_a_cache_that_is_away_asks_for_no_level(metrics: Metrics) -> None:
    breakers = CircuitBreakers(BreakerSettings(failures_to_open=1), metrics, SystemClock())
    breakers[Dependency.REDIS].failed(UnavailableError("away"))
    breakers[Dependency.CATALOG].failed(UnavailableError("away"))
    assert list(breakers.away_seconds()) == ["catalog"]
