"""Where the servers of one deployment are reached, and the settings of K2 that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.stacks.containers.run_secrets import RunSecrets

REGISTRY_PATH = "/apis/ccompat/v7"
BUCKET = "market-data"
REGION = "us-east-1"
"""The gateway's own; a signature names one."""
REDIS_USER = "k2"
BROKERS = ("kafka-1", "kafka-2", "kafka-3")
REGISTRIES = ("schema-registry-1", "schema-registry-2")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where each server is, "host:port" by the service's name, and what it asks for.

    Attributes:
        of_services: see above.
        secrets: shown nowhere.
    """

    of_services: Mapping[str, str]
    secrets: RunSecrets = field(repr=False)

    @property
    def bootstrap_servers(self) -> str:
        """All brokers, for a Kafka client."""
        return ",".join(self.of_services[name] for name in BROKERS)

    @property
    def schema_registry_url(self) -> str:
        """Both nodes, for a client that asks the other where one does not answer."""
        return ",".join(f"http://{self.of_services[name]}{REGISTRY_PATH}" for name in REGISTRIES)

    @property
    def catalog_uri(self) -> str:
        """PostgreSQL's, for SQLAlchemy, with the password."""
        return f"postgresql+psycopg://k2:{self.secrets.catalog}@{self.of_services['postgres']}/catalog"

    @property
    def redis_url(self) -> str:
        """Redis's, with the password."""
        return f"redis://{REDIS_USER}:{self.secrets.redis}@{self.of_services['redis']}/0"

    def url(self, service: str) -> str:
        """Of a service that speaks HTTP: prometheus, alertmanager, pushgateway, object-store."""
        return f"http://{self.of_services[service]}"


def platform_settings(addresses: Addresses, name: str) -> dict[str, dict[str, Any]]:
    """Settings of K2 by section, for one platform on these servers.

    Args:
        addresses: where they are.
        name: what tells its topics, group, tables and files from those of other platforms; empty for the only one.
    """
    return {
        "kafka": {
            "bootstrap_servers": addresses.bootstrap_servers,
            "schema_registry_url": addresses.schema_registry_url,
            "topic_prefix": f"{name}." if name else "",
            "group_id": f"k2-{name}" if name else "k2",
        },
        "storage": {
            "catalog_uri": addresses.catalog_uri,
            "catalog_name": name or "k2",
            "warehouse": f"s3://{BUCKET}/{name or 'warehouse'}",
            "s3_endpoint": addresses.url("object-store"),
            "s3_region": REGION,
            "s3_access_key": addresses.secrets.object_store_access_key,
            "s3_secret_key": addresses.secrets.object_store_secret_key,
        },
        "state": {
            "kind": "redis",
            "redis_address": addresses.of_services["redis"],
            "redis_user": REDIS_USER,
            "redis_password": addresses.secrets.redis,
        },
        "consumer": {"accept_new_cluster": True},
    }


def as_environment(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Settings as the environment of a process: K2_KAFKA__BOOTSTRAP_SERVERS."""
    return {
        f"K2_{section}__{name}".upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for section, values in settings.items()
        for name, value in values.items()
        if value != ""
    }


def inside_network() -> dict[str, str]:
    """Where the servers are for containers of the same network."""
    ports = {"postgres": 5432, "object-store": 7070, "redis": 6379, "prometheus": 9090, "alertmanager": 9093}
    return {
        **{name: f"{name}:9092" for name in BROKERS},
        **{name: f"{name}:8080" for name in REGISTRIES},
        **{name: f"{name}:{port}" for name, port in {**ports, "pushgateway": 9091}.items()},
    }
