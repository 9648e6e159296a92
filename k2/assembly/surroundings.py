"""What a process exports of what surrounds it: servers it depends on, the disks it writes to, open markets."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from k2.clock import Clock
from k2.observability.market_hours import markets
from k2.observability.metrics import Metrics
from k2.records.definition import RECORD_TYPES
from k2.resilience.breakers import Dependency
from k2.resilience.reachability import (
    HTTP_GREETING,
    KAFKA_GREETING,
    POSTGRESQL_GREETING,
    REDIS_GREETING,
    Reachability,
    ServerAddress,
)
from k2.resilience.repeated_task import RepeatedTask
from k2.settings import PACKAGED_REGISTRY, Settings
from k2.storage.catalog import IcebergCatalog
from k2.storage.compaction_age import uncompacted_since_ns
from k2.storage.reader import is_local, local_path

_LOOK_SECONDS = 5.0
_COMPACTION_LOOK_SECONDS = 60.0
# By scheme: the port where an address names none, and how a server of it is greeted.
_PROTOCOLS = {
    "kafka": (9092, KAFKA_GREETING),
    "postgresql": (5432, POSTGRESQL_GREETING),
    "http": (80, HTTP_GREETING),
    "https": (443, b""),
    "redis": (6379, REDIS_GREETING),
    "rediss": (6379, b""),
}


@contextmanager
def exported_surroundings(settings: Settings, catalog: IcebergCatalog, metrics: Metrics) -> Iterator[None]:
    """Export k2_dependency_up and k2_disk_* for as long as the block lasts, and after it their last values."""
    directories = written_directories(settings, catalog.warehouse)
    metrics.compute("k2_disk_free_bytes", lambda: _disk_samples(directories, "free"))
    metrics.compute("k2_disk_size_bytes", lambda: _disk_samples(directories, "total"))
    with Reachability(server_addresses(settings), metrics, _LOOK_SECONDS).watching():
        yield


@contextmanager
def exported_markets_and_compaction(catalog: IcebergCatalog, metrics: Metrics, clock: Clock) -> Iterator[None]:
    """Export k2_market_open and k2_table_compaction_age_seconds; of all processes the API alone does."""
    since_ns: dict[str, int] = {}

    def look() -> None:
        for record_type in RECORD_TYPES.values():
            begun_ns = uncompacted_since_ns(catalog.load(record_type.table).metadata)
            if begun_ns is not None:
                since_ns[record_type.data_type] = begun_ns

    def ages() -> Iterator[tuple[Mapping[str, str], float]]:
        for data_type, begun_ns in dict(since_ns).items():
            yield {"data_type": data_type}, max(0.0, (clock.wall_ns() - begun_ns) / 1e9)

    def open_markets() -> Iterator[tuple[Mapping[str, str], float]]:
        for exchange, is_open in markets(clock.wall_ns()).items():
            yield {"exchange": exchange}, float(is_open)

    metrics.compute("k2_market_open", open_markets)
    metrics.compute("k2_table_compaction_age_seconds", ages)
    with RepeatedTask("compaction age", look, _COMPACTION_LOOK_SECONDS):
        yield


def server_addresses(settings: Settings) -> tuple[ServerAddress, ...]:
    """Every server the settings name: brokers, registries, the catalog's database, the object store, Redis."""
    storage = settings.storage
    named = [(Dependency.BROKER, f"kafka://{one}") for one in _parts(settings.kafka.bootstrap_servers)]
    if settings.kafka.schema_registry_url != PACKAGED_REGISTRY:
        named += [(Dependency.SCHEMA_REGISTRY, one) for one in _parts(settings.kafka.schema_registry_url)]
    named.append((Dependency.CATALOG, storage.catalog_uri))
    if storage.s3_endpoint is not None:
        named.append((Dependency.OBJECT_STORE, storage.s3_endpoint))
    if settings.state.kind == "redis":
        scheme = "rediss" if settings.state.redis_tls else "redis"
        named.append((Dependency.REDIS, f"{scheme}://{settings.state.redis_address}"))
    return tuple(server for dependency, url in named if (server := _server(dependency, url)) is not None)


def written_directories(settings: Settings, warehouse: str) -> tuple[Path, ...]:
    """The folders K2 writes to, as they are configured."""
    folders = [settings.storage.audit_log.parent, settings.dead_letters.directory]
    if settings.query.cache_directory is not None:
        folders.append(settings.query.cache_directory)
    if settings.state.kind in ("sqlite", "redis"):
        folders.append(settings.state.sqlite_path.parent)
    if is_local(warehouse):
        folders.append(Path(local_path(warehouse)))
    return tuple(dict.fromkeys(folder.absolute() for folder in folders))


def _parts(addresses: str) -> list[str]:
    return [part.strip() for part in addresses.split(",") if part.strip()]


def _server(dependency: Dependency, url: str) -> ServerAddress | None:
    """The server of an address; None where it names none, as that of a file does not."""
    try:
        parts = urlsplit(url)
        host, named_port = parts.hostname, parts.port
    except ValueError:
        return None
    protocol = _PROTOCOLS.get(parts.scheme.partition("+")[0])
    if host is None or protocol is None:
        return None
    return ServerAddress(dependency, host, named_port or protocol[0], protocol[1])


def _disk_samples(directories: tuple[Path, ...], which: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for directory in directories:
        # A folder that is made when it is first needed is on the disk of the one it will be in.
        existing = next(folder for folder in (directory, *directory.parents) if folder.exists())
        yield {"directory": str(directory)}, getattr(shutil.disk_usage(existing), which)
