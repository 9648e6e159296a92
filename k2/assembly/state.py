"""The cache of state checkpoints, in the stores that the settings name."""

from collections.abc import Callable

from k2.assembly.safeguards import Probes
from k2.clock import Clock
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import StateSettings
from k2.state.checkpoint_cache import CheckpointCache
from k2.state.memory import MemoryStore
from k2.state.redis_server import RedisStore
from k2.state.sqlite import SqliteStore
from k2.state.store import StateStore


def open_checkpoint_cache(
    settings: StateSettings, breakers: CircuitBreakers, metrics: Metrics, clock: Clock
) -> tuple[CheckpointCache | None, Probes]:
    """The cache, and how a server it uses is probed while it is away; no cache where the settings want none."""
    stores: list[StateStore] = []
    probes: dict[Dependency, Callable[[], object]] = {}
    if settings.kind == "redis":
        server = RedisStore(settings, breakers[Dependency.REDIS])
        stores.append(server)
        probes[Dependency.REDIS] = server.look
    if settings.kind in ("redis", "sqlite"):
        stores.append(SqliteStore(settings.sqlite_path, settings.max_bytes, clock))
    if settings.kind == "memory":
        stores.append(MemoryStore(settings.max_bytes, clock))
    return (CheckpointCache(stores, settings.ttl_seconds, metrics) if stores else None), probes
