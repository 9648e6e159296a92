"""Where catalog and warehouse are: their addresses as PyIceberg, SQLAlchemy and people get them."""

from pathlib import Path

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from k2.errors import UsageError
from k2.settings import StorageSettings, without_password

SQLITE_BUSY_TIMEOUT_SECONDS = 30
_OBJECT_STORES = ("s3://", "s3a://")
_POSTGRESQL_LIMITS = {
    # By default libpq waits for minutes for a server that is gone,
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "tcp_user_timeout": "20000",
    # and a server for ever for a client that is frozen in a transaction, with all others behind its locks.
    "options": "-c idle_in_transaction_session_timeout=20000",
}
"""Where the address does not say otherwise."""


def catalog_address(uri: str) -> str:
    """The catalog's address without its password, for people.

    Raises:
        UsageError: it is no address.
    """
    try:
        sqlalchemy.make_url(uri)
    except (SQLAlchemyError, ValueError) as error:
        # It is not repeated: what does not parse may still hold a password.
        raise UsageError("the catalog's address is not of the form dialect://user:password@host/name") from error
    return without_password(uri)


def catalog_properties(settings: StorageSettings) -> dict[str, str]:
    """What PyIceberg needs to know to open catalog and warehouse, secrets included."""
    properties = {
        "uri": _with_time_limits(settings.catalog_uri),
        "warehouse": warehouse_uri(settings.warehouse),
        "init_catalog_tables": "false",
        # A server that was restarted costs a look at the connection, not a failed commit.
        "pool_pre_ping": str(not settings.catalog_uri.startswith("sqlite")).lower(),
    }
    if properties["warehouse"].startswith(_OBJECT_STORES):
        properties |= _object_store_properties(settings)
    return properties


def warehouse_uri(warehouse: str) -> str:
    """The warehouse's address, without a slash at its end; a folder is created.

    Raises:
        UsageError: it cannot be used.
    """
    if "://" in warehouse:
        return warehouse.rstrip("/")
    if "?" in warehouse or "#" in warehouse:
        raise UsageError(f"the warehouse {warehouse} cannot be used: choose a path without ? and #")
    path = Path(warehouse).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the warehouse {warehouse} cannot be created: {error.strerror}") from error
    # Iceberg takes what follows the scheme as it stands, so a space must not become %20.
    return f"file://{path}"


def make_sqlite_folder(uri: str) -> None:
    """Create the folder of a catalog that is a file.

    Raises:
        UsageError: it cannot be created.
    """
    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the catalog's folder {folder} cannot be created: {error.strerror}") from error


def _object_store_properties(settings: StorageSettings) -> dict[str, str]:
    properties = {
        # Without a region the library asks Amazon where the bucket is.
        "s3.region": settings.s3_region,
        "s3.connect-timeout": str(settings.s3_connect_timeout_seconds),
        "s3.request-timeout": str(settings.s3_request_timeout_seconds),
    }
    if settings.s3_endpoint is not None:
        properties["s3.endpoint"] = settings.s3_endpoint
    if settings.s3_access_key is not None and settings.s3_secret_key is not None:
        properties["s3.access-key-id"] = settings.s3_access_key.get_secret_value()
        properties["s3.secret-access-key"] = settings.s3_secret_key.get_secret_value()
    return properties


def _with_time_limits(uri: str) -> str:
    if uri.startswith("sqlite:///") and "?" not in uri:
        return f"{uri}?timeout={SQLITE_BUSY_TIMEOUT_SECONDS}"
    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "postgresql":
        url = url.set(query={**_POSTGRESQL_LIMITS, **url.query})
        return url.render_as_string(hide_password=False)
    return uri
