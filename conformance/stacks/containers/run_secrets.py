"""Passwords of one deployment: made at random, kept in files that only their owner may read, shown nowhere."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_BYTES = 24
_FILE = "secrets.json"
_OWNER_ONLY = 0o600
_OWNER_ONLY_DIRECTORY = 0o700


@dataclass(frozen=True, slots=True)
class RunSecrets:
    """Every password of a deployment; its text form shows none."""

    postgres: str = field(repr=False)
    catalog: str = field(repr=False)
    registry: str = field(repr=False)
    object_store_access_key: str = field(repr=False)
    object_store_secret_key: str = field(repr=False)
    redis: str = field(repr=False)

    def environments(self) -> Mapping[str, Mapping[str, str]]:
        """What each server is told, by the name of its file."""
        return {
            "postgres.env": {
                "POSTGRES_PASSWORD": self.postgres,
                "CATALOG_PASSWORD": self.catalog,
                "REGISTRY_PASSWORD": self.registry,
            },
            "schema-registry.env": {"APICURIO_DATASOURCE_PASSWORD": self.registry},
            "object-store.env": {
                "ROOT_ACCESS_KEY": self.object_store_access_key,
                "ROOT_SECRET_KEY": self.object_store_secret_key,
            },
            "redis.env": {"REDIS_PASSWORD_SHA256": hashlib.sha256(self.redis.encode()).hexdigest()},
        }


def make_secrets() -> RunSecrets:
    """New ones, 192 random bits each."""
    return RunSecrets(*(secrets.token_hex(_BYTES) for _ in range(6)))


def kept_secrets(directory: Path) -> RunSecrets:
    """Those of an earlier start of the same deployment, whose servers know no others; new ones the first time."""
    path = directory / _FILE
    if path.is_file():
        return RunSecrets(**json.loads(path.read_text()))
    made = make_secrets()
    write_private(path, json.dumps({name: getattr(made, name) for name in RunSecrets.__slots__}))
    return made


def write_environments(directory: Path, environments: Mapping[str, Mapping[str, str]]) -> None:
    """NAME=value files, one a server."""
    for name, values in environments.items():
        write_private(directory / name, "".join(f"{key}={value}\n" for key, value in values.items()))


def write_private(path: Path, text: str) -> None:
    """A file that nobody but its owner may read, also while it is written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY_DIRECTORY)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
