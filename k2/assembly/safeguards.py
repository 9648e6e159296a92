"""The circuit breakers and the level of a process: which signals it reads, and how it probes what is away."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from k2.clock import Clock
from k2.observability.memory import resident_bytes, usable_bytes
from k2.observability.metrics import Metrics
from k2.records.definition import RECORD_TYPES
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.level_monitor import LevelMonitor
from k2.resilience.prober import Prober
from k2.resilience.signals import (
    DEPENDENCY_AWAY,
    LAG,
    MEMORY,
    POOL_BUSY,
    POOL_REJECTIONS,
    STALL,
    Component,
    SlidingWindow,
    StallTimer,
)
from k2.settings import Settings
from k2.storage.catalog import IcebergCatalog

Probes = Mapping[Dependency, Callable[[], object]]


def api_monitor(settings: Settings, breakers: CircuitBreakers, metrics: Metrics, clock: Clock) -> LevelMonitor:
    """The level of an API process."""

    def window(read: Callable[[], float]) -> SlidingWindow:
        return SlidingWindow(read, settings.degradation.window_seconds, clock)

    def busy_share() -> float:
        return metrics.value("k2_connection_pool_active_connections") / settings.query.pool_size

    signals = {
        **_common_signals(settings, breakers),
        POOL_BUSY: window(busy_share).lowest,
        POOL_REJECTIONS: window(lambda: metrics.value("k2_connection_pool_acquisition_timeouts_total")).growth,
    }
    return LevelMonitor(Component.API, signals, settings.degradation, metrics, clock)


def consumer_monitor(
    settings: Settings,
    breakers: CircuitBreakers,
    progress: Callable[[], tuple[int, int]],
    metrics: Metrics,
    clock: Clock,
) -> LevelMonitor:
    """The level of a consumer process.

    Args:
        settings: thresholds, holds and windows.
        breakers: of the process.
        progress: how far the table has come, and how many messages wait in the log; called in another thread.
        metrics: receives the k2_degradation_* metrics.
        clock: measures times.
    """
    signals = {
        **_common_signals(settings, breakers),
        LAG: SlidingWindow(lambda: progress()[1], settings.degradation.window_seconds, clock).lowest,
        STALL: StallTimer(progress, clock).seconds,
    }
    return LevelMonitor(Component.CONSUMER, signals, settings.degradation, metrics, clock)


def storage_probes(catalog: IcebergCatalog) -> Probes:
    """How catalog and warehouse are probed: the one is asked for an address, the other for the file at it."""

    def look_at_catalog() -> None:
        for record_type in RECORD_TYPES.values():
            catalog.metadata_location(record_type.table)

    return {Dependency.CATALOG: look_at_catalog, Dependency.OBJECT_STORE: catalog.look_at_store}


@contextmanager
def watching(settings: Settings, monitor: LevelMonitor, breakers: CircuitBreakers, probes: Probes) -> Iterator[None]:
    """Keep the level current, and probe dependencies while they are away."""
    prober = Prober(breakers, probes, settings.degradation.look_seconds)
    with monitor.watching(), prober.watching():
        yield


def _common_signals(settings: Settings, breakers: CircuitBreakers) -> dict[str, Callable[[], float]]:
    signals: dict[str, Callable[[], float]] = {
        DEPENDENCY_AWAY: lambda: max(breakers.away_seconds().values(), default=0.0)
    }
    limit_bytes = settings.degradation.memory_limit_bytes or usable_bytes()
    try:
        resident_bytes()
    except OSError:
        # Not on this system; the level follows from the other signals.
        return signals
    return {**signals, MEMORY: lambda: resident_bytes() / limit_bytes}
