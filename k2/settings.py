"""Every setting of the platform, in one place. Only the command line builds them; everything after takes frozen values.

Each comes from an environment variable: K2_API__PORT=8080 sets `api.port`, K2_KAFKA__BOOTSTRAP_SERVERS the brokers. A
secret may be given by reference, see k2.secrets.
"""

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from k2.errors import UsageError
from k2.records.definition import EXCHANGES
from k2.secrets import with_secrets

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$")]
PACKAGED_REGISTRY = "packaged"
SETTINGS_FILE = "settings.json"
_OTHER_VARIABLES = {"K2_DATA_DIR", "K2_CAPTURES", "K2_ENGINE", "K2_PROMTOOL", "K2_AMTOOL"}
"""Read by the command line and the tests, not settings."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """How to reach the brokers and the Schema Registry."""

    bootstrap_servers: str = "127.0.0.1:9092"
    schema_registry_url: str = PACKAGED_REGISTRY
    """Address of a Confluent-compatible registry, or "packaged": the ids and schemas that come with K2."""
    group_id: str = "k2"
    topic_prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=200)] = ""
    """What every topic's name, and its subject in the registry, begins with, so that platforms can share a cluster."""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """Who shares out the partitions: a leader among the consumers (cooperative), or the brokers (KIP-848), which then
    decide on sessions and heartbeats; see docs/consumer.md."""
    session_timeout_ms: PositiveInt = 45_000
    heartbeat_interval_ms: PositiveInt = 3_000
    max_poll_interval_ms: PositiveInt = 300_000
    delivery_timeout_ms: PositiveInt = 30_000
    password: SecretStr | None = None


class ProducerSettings(_Section):
    """What a producer holds until the broker has it, and what it does when that is too much, see docs/producer.md."""

    queue_max_messages: PositiveInt = 200_000
    queue_max_kbytes: PositiveInt = 262_144
    """In units of 1,024 bytes."""
    queue_full_timeout_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long a full queue is waited for, counted from when it was found full."""
    overload_policy: Literal["raise", "shed"] = "raise"
    """What becomes of a record for which the queue stayed full or the circuit breaker is open: an error for the caller,
    or dropped and counted."""
    flush_timeout_seconds: PositiveFloat = 30.0
    metrics_port: Port | None = None
    """Port on which `k2 feed` serves its metrics; 0 picks a free one, none serves nothing."""
    metrics_host: str = "127.0.0.1"
    """Address it listens on for that; 0.0.0.0 where Prometheus is on another machine."""


class StorageSettings(_Section):
    """Catalog and warehouse of the Iceberg tables, and how much of their history is kept, see docs/storage.md."""

    catalog_uri: str = Field(default="sqlite:///k2-data/catalog.db", repr=False)
    """As SQLAlchemy writes it: sqlite:///folder/catalog.db or postgresql+psycopg://user:password@host/name."""
    catalog_name: PlainName = "k2"
    """Tables of one name do not see those of another in the same database."""
    warehouse: str = "k2-data/warehouse"
    """A folder, or s3://bucket/prefix."""
    audit_log: Path = Path("k2-data/audit.jsonl")
    s3_endpoint: str | None = None
    """Address of the object store; none takes Amazon's."""
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr | None = None
    """With `s3_secret_key`; without the two the machine's own credentials are used."""
    s3_secret_key: SecretStr | None = None
    s3_connect_timeout_seconds: PositiveFloat = 3.0
    s3_request_timeout_seconds: PositiveFloat = 10.0
    """How long a request may be silent; each is tried three times."""
    snapshots_kept: Annotated[int, Field(ge=2)] = 200
    """So many newest snapshots of a table are all kept, see k2.storage.retention."""
    snapshot_hours_kept: Annotated[int, Field(ge=0)] = 24
    """Of older ones the last of each hour, for so long."""
    snapshot_days_kept: Annotated[int, Field(ge=0)] = 30
    """Of still older ones the last of each day (UTC), for so long."""
    deletion_delay_seconds: PositiveFloat = 900.0
    """How long files that belong to no snapshot any more are kept for reads that have begun; longer than any query
    and any cached plan lives."""

    @field_serializer("catalog_uri", when_used="json")
    def _hide_password(self, catalog_uri: str) -> str:
        return without_password(catalog_uri)


class SequenceSettings(_Section):
    """The ruling on sequences, see k2.ingestion.sequence_tracker."""

    reset_highest_number: PositiveInt = 10
    reset_lowest_distance: PositiveInt = 1_000
    duplicate_window: PositiveInt = 128
    max_open_ranges: PositiveInt = 1_024
    """Open gaps kept for one key; the oldest is evicted and counted as lost."""
    max_keys: PositiveInt = 10_000
    """Keys kept by each of a partition's two trackers; beyond it the one whose last record lies furthest back is
    forgotten."""


class DeduplicationSettings(_Section):
    """Records with an id of the exchange and no sequence number, see docs/sequences.md."""

    window_ids: Annotated[int, Field(ge=0)] = 16_384
    """So many last ids of a partition are known, and up to a quarter more; 0 keeps every record."""
    filter_error_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Share of new ids that the filter takes for known ones, which are then looked up for nothing."""


class StateSettings(_Section):
    """Where state checkpoints are kept beside the object store, to be had sooner, see docs/state-stores.md."""

    kind: Literal["none", "memory", "sqlite", "redis"] = "memory"
    """With redis a file is kept as well, for when Redis is away."""
    ttl_seconds: PositiveFloat = 7 * 86_400.0
    """How long a checkpoint is kept."""
    max_bytes: PositiveInt = 256 * 1024**2
    """Of all checkpoints in memory, and of all in the file; beyond it the oldest go."""
    sqlite_path: Path = Path("k2-data/state.db")
    redis_address: Annotated[str, Field(pattern=r"^.+:[0-9]{1,5}$")] = "127.0.0.1:6379"
    redis_user: str | None = None
    """Of Redis's access control list; none takes the default user."""
    redis_password: SecretStr | None = None
    redis_tls: bool = False
    redis_ca_file: Path | None = None
    """Certificates that vouch for the server; none takes the machine's own."""
    redis_timeout_seconds: PositiveFloat = 0.5
    """How long a call may take as a whole, the connection included."""


class ConsumerSettings(_Section):
    """One consumer process: what it reads and when it commits."""

    data_type: str = "trades"
    asset_classes: tuple[str, ...] = ("crypto", "equities")
    exchanges: tuple[str, ...] = EXCHANGES
    """Exchange codes that are known; a record of another becomes a dead letter."""
    batch_rows: PositiveInt = 100_000
    batch_seconds: PositiveFloat = 1.0
    accept_new_cluster: bool = False
    """Start at the beginning of a cluster the table has never seen, instead of stopping."""
    metrics_port: Port | None = None
    """Port on which the consumer's metrics are served; 0 picks a free one, none serves nothing."""
    metrics_host: str = "127.0.0.1"
    """Address it listens on for that; 0.0.0.0 where Prometheus is on another machine."""


class DeadLetterSettings(_Section):
    """Messages that could not become rows, see k2.ingestion.dead_letters."""

    directory: Path = Path("k2-data/dead-letters")
    """Where files keep what the dead letter topic does not take."""
    max_size_mb: PositiveFloat = 100.0
    """Size of a file, in units of 1,048,576 bytes, that no further line may pass."""
    delivery_timeout_ms: PositiveInt = 10_000
    """How long the broker is waited for before a file takes over; never longer than kafka.delivery_timeout_ms."""


class RetrySettings(_Section):
    """Attempts in all, and the waits between them (exponential, with jitter)."""

    attempts: PositiveInt = 3
    first_wait_seconds: PositiveFloat = 0.5
    longest_wait_seconds: PositiveFloat = 10.0


class BreakerSettings(_Section):
    """The circuit breakers, one for each dependency, see k2.resilience.circuit_breaker."""

    failures_to_open: PositiveInt = 5
    """Failures in a row after which a dependency is left alone."""
    open_seconds: PositiveFloat = 10.0
    """How long it is left alone before one call is let through to see whether it is back."""
    successes_to_close: PositiveInt = 2
    """Successes in a row, one call at a time, after which everybody may call again."""


Band = tuple[float, float]
"""From which value of a signal on a level is demanded, and at or below which it no longer is."""


class LevelBands(_Section):
    """The bands of one signal, see k2.resilience.degradation; a level without one is never demanded by it."""

    degraded: Band | None = None
    critical: Band | None = None
    shutdown: Band | None = None

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        bands = [band for band in (self.degraded, self.critical, self.shutdown) if band is not None]
        if any(leave >= enter for enter, leave in bands):
            raise ValueError("each level's second number must be below its first: [enter, leave]")
        if sorted(bands) != bands:
            raise ValueError("a more severe level must not be entered before a less severe one")
        return self


class DegradationSettings(_Section):
    """When a process sheds work, see docs/degradation.md; each band is [enter, leave]."""

    hold_seconds: PositiveFloat = 10.0
    """How long a level lasts at least."""
    look_seconds: PositiveFloat = 1.0
    """How often the signals are looked at."""
    window_seconds: PositiveFloat = 10.0
    """How far back those signals look that would jump about otherwise."""
    memory_limit_bytes: PositiveInt | None = None
    """What memory_share is a share of; none takes the container's limit, or the machine's memory."""
    dependency_away_seconds: LevelBands = LevelBands(degraded=(5, 0), critical=(30, 0), shutdown=(120, 0))
    pool_busy_share: LevelBands = LevelBands(degraded=(1.0, 0.7))
    pool_rejections: LevelBands = LevelBands(degraded=(10, 0), critical=(100, 20))
    lag_messages: LevelBands = LevelBands(degraded=(10_000, 1_000), critical=(100_000, 10_000))
    stall_seconds: LevelBands = LevelBands(degraded=(60, 5), critical=(300, 5))
    memory_share: LevelBands = LevelBands(degraded=(0.8, 0.7), critical=(0.9, 0.8), shutdown=(0.95, 0.85))


class QuerySettings(_Section):
    """DuckDB and its connection pool, and the files it reads of an object store."""

    pool_size: PositiveInt = 5
    acquire_timeout_seconds: PositiveFloat = 30.0
    time_limit_seconds: PositiveFloat = 60.0
    memory_limit: str = "4GB"
    threads: PositiveInt = 2
    cache_directory: Path | None = None
    """Where fetched files are kept; only a warehouse that is not on this machine needs one, see docs/query.md."""
    cache_limit_bytes: PositiveInt = 10 * 1024**3


class ApiSettings(_Section):
    """The HTTP API."""

    host: str = "127.0.0.1"
    port: Port = 8000
    time_limit_seconds: PositiveFloat = 30.0
    pool_wait_seconds: PositiveFloat = 5.0
    body_limit_bytes: PositiveInt = 10 * 1024 * 1024
    bodies_limit_bytes: PositiveInt = 160 * 1024 * 1024
    """All bodies that are held at once; one that does not fit is answered 503."""
    head_limit_bytes: PositiveInt = 32 * 1024
    """Request line and headers together."""
    header_read_timeout_seconds: PositiveFloat = 5
    """How long the head of a request may take, from the connection or from its first byte."""
    body_read_timeout_seconds: PositiveFloat = 5
    """How long a body may take, and a second more for every slowest_bytes_per_second of it that came."""
    write_timeout_seconds: PositiveFloat = 5
    """How long a client may take to read an answer, and a second more for every slowest_bytes_per_second it read."""
    slowest_bytes_per_second: PositiveInt = 16 * 1024
    idle_timeout_seconds: PositiveFloat = 5
    """How long a connection may be kept without a request."""
    most_connections: PositiveInt = 4_096
    """Connections at once; one more is answered 503."""
    drain_notice_seconds: Annotated[float, Field(ge=0)] = 0.2
    """How long a process that was told to stop goes on serving, not ready, so that it is noticed: as long as whoever
    asks /health takes to come round."""
    drain_limit_seconds: PositiveFloat = 35.0
    """How long requests in hand may take after that before they are cut off."""
    check_timeout_seconds: PositiveFloat = 2.0
    """How long /health and /metrics wait for the tables before they answer without: less than whoever asks waits."""
    freshness_limit_seconds: PositiveFloat = 300.0
    """An exchange whose rows stop coming for longer is reported as stale, see docs/freshness.md."""


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(env_prefix="K2_", env_nested_delimiter="__", frozen=True, extra="forbid")

    kafka: KafkaSettings = KafkaSettings()
    producer: ProducerSettings = ProducerSettings()
    storage: StorageSettings = StorageSettings()
    sequence: SequenceSettings = SequenceSettings()
    deduplication: DeduplicationSettings = DeduplicationSettings()
    state: StateSettings = StateSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    degradation: DegradationSettings = DegradationSettings()
    query: QuerySettings = QuerySettings()
    api: ApiSettings = ApiSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"


def without_password(uri: str) -> str:
    """A database's address with *** in place of the password, wherever it stands in it."""
    hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", uri)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", hidden)


def load_settings(data_directory: Path) -> Settings:
    """Settings for this process: environment first, then the data directory's settings.json, then the defaults.

    A running embedded platform leaves its addresses in settings.json, so that other commands find it.

    Raises:
        UsageError: a variable or entry is unknown or has an unusable value.
        RefusedError: a secret may not be read.
        UnavailableError: whoever has a secret does not answer.
    """
    _refuse_unknown_variables()
    values = _merged(_data_directory_values(data_directory), _file_values(data_directory / SETTINGS_FILE))
    try:
        return Settings(**with_secrets(_merged(values, EnvSettingsSource(Settings)()), _is_secret))
    except (ValidationError, SettingsError) as error:
        # Not chained: the library's error quotes the values.
        raise UsageError(_first_problem(error)) from None


def _is_secret(setting: str) -> bool:
    """Whether a setting is hidden wherever settings are shown; "section.name"."""
    section, _, name = setting.partition(".")
    default = Settings.model_fields[section].default if section in Settings.model_fields else None
    field = type(default).model_fields.get(name) if isinstance(default, BaseModel) else None
    return field is not None and (not field.repr or "SecretStr" in str(field.annotation))


def _data_directory_values(directory: Path) -> dict[str, Any]:
    return {
        "storage": {
            "catalog_uri": f"sqlite:///{directory.absolute()}/catalog.db",
            "warehouse": str(directory.absolute() / "warehouse"),
            "audit_log": str(directory.absolute() / "audit.jsonl"),
        },
        "dead_letters": {"directory": str(directory.absolute() / "dead-letters")},
        "state": {"sqlite_path": str(directory.absolute() / "state.db")},
        "query": {"cache_directory": str(directory.absolute() / "query-cache")},
    }


def _file_values(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise UsageError(f"{path.parent} is not a directory: choose another --data-dir") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): remove it or mend it") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold one JSON object: remove it or mend it")
    return values


def _merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for name, value in high.items():
        kept = result.get(name)
        result[name] = _merged(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
    return result


def _refuse_unknown_variables() -> None:
    known = {f"K2_{name}".upper() for name in Settings.model_fields} | _OTHER_VARIABLES
    for section, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            known |= {f"K2_{section}__{name}".upper() for name in type(field.default).model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith("K2_") and name.upper() not in known)
    if unknown:
        raise UsageError(f"environment variable {unknown[0]} is not a setting of K2; `k2 settings` lists them")


def _first_problem(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        what = str(error).partition(" from source")[0]
        return f"settings cannot be read: {what}; lists and sections are written as JSON"
    problem = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    message = f"{problem['msg'][:1].lower()}{problem['msg'][1:]}"
    # What stands under a name that does not exist may be a secret under a misspelt one, and a section holds several.
    holds_secrets = name in Settings.model_fields and isinstance(Settings.model_fields[name].default, BaseModel)
    is_hidden = holds_secrets or isinstance(problem["input"], dict) or _is_secret(".".join(name.split(".")[:2]))
    if problem["type"] == "extra_forbidden" or is_hidden:
        return f"setting {name} cannot be used: {message}"
    return f"setting {name} is {problem['input']!r}: {message}"
