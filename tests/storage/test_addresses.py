"""Where catalog and warehouse are: what the library is told, and what people are shown."""

import pytest
from pydantic import SecretStr

from k2.settings import Settings, StorageSettings, without_password
from k2.storage.addresses import catalog_address, catalog_properties

POSTGRESQL = "postgresql+psycopg://k2:hunter2@db:5432/catalog"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (POSTGRESQL, "postgresql+psycopg://k2:***@db:5432/catalog"),
        ("postgresql+psycopg://k2:hunter2%40x@db/c", "postgresql+psycopg://k2:***@db/c"),
        (
            "postgresql+psycopg://k2@db/c?sslmode=require&password=hunter2",
            "postgresql+psycopg://k2@db/c?sslmode=require&password=***",
        ),
        ("postgresql+psycopg://k2:hunt:er@2@db/c", "postgresql+psycopg://k2:***@db/c"),
        ("sqlite:////srv/k2/catalog.db", "sqlite:////srv/k2/catalog.db"),
    ],
)
def test_a_password_is_never_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
    storage = StorageSettings(
        catalog_uri=uri, s3_access_key=SecretStr("access"), s3_secret_key=SecretStr("secret-hush")
    )
    texts = [storage.model_dump_json(), repr(storage), str(storage), Settings(storage=storage).model_dump_json()]
    assert shown in texts[0]
    assert not [text for text in texts if "hunt" in text or "secret-hush" in text]
    assert storage.catalog_uri == uri
    assert catalog_address(uri) == shown


def test_an_object_store_s_properties_are_those_of_the_settings() -> None:
    storage = StorageSettings(
        catalog_uri=POSTGRESQL,
        warehouse="s3://bucket/prefix/",
        s3_endpoint="http://store:7070",
        s3_access_key=SecretStr("access"),
        s3_secret_key=SecretStr("secret-hush"),
    )
    properties = catalog_properties(storage)
    assert {name: value for name, value in properties.items() if name != "uri"} == {
        "warehouse": "s3://bucket/prefix",
        "init_catalog_tables": "false",
        "pool_pre_ping": "true",
        "s3.endpoint": "http://store:7070",
        "s3.region": "us-east-1",
        "s3.access-key-id": "access",
        "s3.secret-access-key": "secret-hush",
        "s3.connect-timeout": "3.0",
        "s3.request-timeout": "10.0",
    }


def test_without_keys_the_machine_s_own_credentials_are_used() -> None:
    assert not [name for name in catalog_properties(StorageSettings(warehouse="s3://bucket")) if "key" in name]


def test_a_database_that_is_gone_is_not_waited_for_for_minutes() -> None:
    uri = catalog_properties(StorageSettings(catalog_uri=POSTGRESQL, warehouse="s3://b"))["uri"]
    assert uri.startswith("postgresql+psycopg://k2:hunter2@db:5432/catalog?")
    assert {"connect_timeout=5", "tcp_user_timeout=20000"} < set(uri.partition("?")[2].split("&"))
    assert "idle_in_transaction_session_timeout" in uri
    own = f"{POSTGRESQL}?connect_timeout=60"
    kept = catalog_properties(StorageSettings(catalog_uri=own, warehouse="s3://b"))["uri"]
    assert "connect_timeout=60" in kept
    assert "connect_timeout=5&" not in kept
