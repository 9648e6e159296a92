"""Every setting of the platform, in one place. Only the command line builds them; everything after takes frozen values.

Each comes from an environment variable: K2_API__PORT=8080 sets `api.port`, K2_KAFKA__BOOTSTRAP_SERVERS the brokers.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
PACKAGED_REGISTRY = "packaged"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """How to reach the brokers and the Schema Registry."""

    bootstrap_servers: str = "127.0.0.1:9092"
    schema_registry_url: str = PACKAGED_REGISTRY
    """Address of a Confluent-compatible registry, or "packaged": the ids and schemas that come with K2."""
    group_id: str = "k2"
    session_timeout_ms: PositiveInt = 45_000
    heartbeat_interval_ms: PositiveInt = 3_000
    max_poll_interval_ms: PositiveInt = 300_000
    delivery_timeout_ms: PositiveInt = 30_000
    password: SecretStr | None = None


class StorageSettings(_Section):
    """Catalog and warehouse of the Iceberg tables."""

    catalog_uri: str = "sqlite:///k2-data/catalog.db"
    warehouse: str = "k2-data/warehouse"
    audit_log: Path = Path("k2-data/audit.jsonl")


class SequenceSettings(_Section):
    """The ruling on sequences, see k2.ingestion.sequence_tracker."""

    reset_highest_number: PositiveInt = 10
    reset_lowest_distance: PositiveInt = 1_000
    duplicate_window: PositiveInt = 128
    max_open_ranges: PositiveInt = 1_024
    """Open gaps kept for one key; the oldest is evicted and counted as lost."""


class ConsumerSettings(_Section):
    """One consumer process: what it reads and when it commits."""

    data_type: str = "trades"
    asset_classes: tuple[str, ...] = ("crypto", "equities")
    batch_rows: PositiveInt = 100_000
    batch_seconds: PositiveFloat = 1.0
    accept_new_cluster: bool = False
    """Start at the beginning of a cluster the table has never seen, instead of stopping."""
    metrics_port: int | None = None


class RetrySettings(_Section):
    """Attempts in all, and the waits between them (exponential, with jitter)."""

    attempts: PositiveInt = 3
    first_wait_seconds: PositiveFloat = 0.5
    longest_wait_seconds: PositiveFloat = 10.0


class QuerySettings(_Section):
    """DuckDB and its connection pool."""

    pool_size: PositiveInt = 5
    acquire_timeout_seconds: PositiveFloat = 30.0
    time_limit_seconds: PositiveFloat = 60.0
    memory_limit: str = "4GB"
    threads: PositiveInt = 2


class ApiSettings(_Section):
    """The HTTP API."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    time_limit_seconds: PositiveFloat = 30.0
    pool_wait_seconds: PositiveFloat = 5.0
    body_limit_bytes: PositiveInt = 10 * 1024 * 1024
    header_read_timeout_seconds: PositiveInt = 5


class Settings(BaseSettings):
    """All sections. Unknown names are refused, so that a misspelt variable is an error and not a default."""

    model_config = SettingsConfigDict(env_prefix="K2_", env_nested_delimiter="__", frozen=True, extra="forbid")

    kafka: KafkaSettings = KafkaSettings()
    storage: StorageSettings = StorageSettings()
    sequence: SequenceSettings = SequenceSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    retry: RetrySettings = RetrySettings()
    query: QuerySettings = QuerySettings()
    api: ApiSettings = ApiSettings()
    log_level: str = "INFO"
