"""PostgreSQL, Redis and the object store let nobody in who has no credentials, or the wrong ones."""

import socket
import urllib.error
import urllib.request

import psycopg
import pytest
from pyarrow.fs import S3FileSystem

from conformance.stacks.containers.addresses import BUCKET, REDIS_USER, REGION
from conformance.stacks.containers.services import ContainerServices

pytestmark = pytest.mark.timeout(600)


def test_postgresql_knows_its_role_by_its_password(services: ContainerServices) -> None:
    with _connection(services, password=services.secrets.catalog) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("k2",)
        stored = connection.execute("SHOW password_encryption").fetchone()
    assert stored == ("scram-sha-256",)


@pytest.mark.parametrize("user", ["k2", "registry", "postgres", "nobody"])
@pytest.mark.parametrize("password", [None, "wrong"])
def test_postgresql_refuses(services: ContainerServices, user: str, password: str | None) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        _connection(services, user=user, password=password)


def test_a_role_gets_into_no_other_database(services: ContainerServices) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        _connection(services, password=services.secrets.catalog, database="registry")


def test_redis_knows_its_user_by_its_password(services: ContainerServices) -> None:
    assert _redis(services, f"AUTH {REDIS_USER} {services.secrets.redis}", "PING") == ["+OK", "+PONG"]


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("PING", "-NOAUTH"),
        ("AUTH wrong", "-WRONGPASS"),
        (f"AUTH {REDIS_USER} wrong", "-WRONGPASS"),
        ("AUTH default nopass", "-WRONGPASS"),
    ],
)
def test_redis_refuses(services: ContainerServices, login: str, says: str) -> None:
    first, second = _redis(services, login, "GET anything")
    assert first.startswith(says)
    assert second.startswith("-NOAUTH")


def test_the_object_store_knows_its_keys(services: ContainerServices) -> None:
    store = _store(services, services.secrets.object_store_access_key, services.secrets.object_store_secret_key)
    with store.open_output_stream(f"{BUCKET}/refusals/one") as file:
        file.write(b"one")
    with store.open_input_stream(f"{BUCKET}/refusals/one") as file:
        assert file.read() == b"one"
    store.delete_file(f"{BUCKET}/refusals/one")


@pytest.mark.parametrize("path", ["/", f"/{BUCKET}", f"/{BUCKET}/anything"])
def test_the_object_store_refuses_those_without_keys(services: ContainerServices, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(services.addresses().url("object-store") + path, timeout=10)
    with raised.value:
        assert raised.value.code == 403


def test_the_object_store_refuses_wrong_keys(services: ContainerServices) -> None:
    right = services.secrets
    for keys in [("nobody", "wrong"), (right.object_store_access_key, "wrong"), ("", "")]:
        with pytest.raises(OSError, match=r"ACCESS_DENIED|SignatureDoesNotMatch|XAdminUserNotFound|403"):
            _store(services, *keys).get_file_info(f"{BUCKET}/anything")


def _connection(
    services: ContainerServices, *, user: str = "k2", password: str | None, database: str = "catalog"
) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=services.port("postgres"),
        dbname=database,
        user=user,
        password=password,
        connect_timeout=10,
        # Whoever runs this may have a password file of his own.
        passfile="/nonexistent",
    )


def _redis(services: ContainerServices, *commands: str) -> list[str]:
    with socket.create_connection(("127.0.0.1", services.port("redis")), timeout=10) as connection:
        answers = connection.makefile("r", newline="\r\n")
        told = []
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            told.append(answers.readline().strip())
        answers.close()
    return told


def _store(services: ContainerServices, access_key: str, secret_key: str) -> S3FileSystem:
    keys = {"access_key": access_key, "secret_key": secret_key} if access_key else {"anonymous": True}
    return S3FileSystem(endpoint_override=services.addresses().url("object-store"), region=REGION, **keys)
