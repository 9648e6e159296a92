"""A canary for each server: a small request whose answer has some kilobytes, over the way K2's processes take.

Two for each: one over a connection of its own each time, one over a connection that is kept, because what Toxiproxy
does to new connections it does not always do to those that were there.
"""

import contextlib
import os
import socket
import sqlite3
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy

from chaos.probes.exchange import ANSWERED, CLOSED, PATIENCE_SECONDS, SILENT, Request, TcpCanary
from chaos.probes.probe import Answer, Probe
from conformance.stacks.containers.addresses import REGION

FRESH, KEPT = "fresh", "kept"
REPEATS = 20
"""Of a request whose answer is short: what spoils bytes shall have some to spoil."""
BYTES = 8_000
_OBJECT = "canary"
_SIGNED_SECONDS = 7 * 86_400
_SMALLEST_CONNECT_TIMEOUT_SECONDS = 2
# length 12; key 18 (ApiVersions), version 0, correlation id 7, client id "k2"
_API_VERSIONS = bytes.fromhex("0000000c 0012 0000 00000007 0002") + b"k2"


def kafka_request(repeats: int = REPEATS) -> Request:
    """Asks a broker several times which requests it knows, which needs no name and no password."""
    return Request(_API_VERSIONS * repeats, lambda received: _kafka_answers(received) >= repeats)


def http_request(host: str, path: str, repeats: int = REPEATS) -> Request:
    """Asks a server for a page several times, without waiting for answers in between; any status is an answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return Request(head * repeats, lambda received: _http_answers(received) >= repeats)


def stored_object(address: str, direct_url: str, bucket: str, access_key: str, secret_key: str) -> Request:
    """Puts an object of some kilobytes past the proxy, and asks for it by an address that is signed for the proxy's."""
    # Only here: it takes a third of a second to import.
    import boto3
    from botocore.config import Config

    def client(url: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
        )

    place = {"Bucket": bucket, "Key": _OBJECT}
    client(direct_url).put_object(**place, Body=b"x" * BYTES)
    signed = client(f"http://{address}").generate_presigned_url("get_object", Params=place, ExpiresIn=_SIGNED_SECONDS)
    parts = urllib.parse.urlsplit(signed)
    return http_request(address, f"{parts.path}?{parts.query}", repeats=1)


def redis_request(user: str, password: str, length: int = BYTES) -> Request:
    """Has Redis say back so many bytes."""
    parts = (("AUTH", user, password), ("ECHO", "x" * length))
    body = b"".join(_redis_command(*part) for part in parts)
    return Request(body, lambda received: received.startswith(b"-") or received.count(b"\r\n") >= len(parts) + 1)


def tcp_canaries(name: str, address: str, request: Request, hows: Sequence[str] = (FRESH, KEPT)) -> list[Probe]:
    """The canaries of a server; one that keeps no connection has a fresh one alone."""
    return [TcpCanary(f"{name} {how}", address, request, is_kept=how == KEPT) for how in hows]


def postgres_canaries(name: str, uri: str, length: int = BYTES) -> list[Probe]:
    """Both canaries of a catalog in PostgreSQL, with answers of so many bytes; `uri` as SQLAlchemy writes it."""
    url = sqlalchemy.make_url(uri).set(drivername="postgresql").render_as_string(hide_password=False)
    return [PostgresCanary(f"{name} {how}", url, length, is_kept=how == KEPT) for how in (FRESH, KEPT)]


class PostgresCanary:
    """Has PostgreSQL answer a query of some length.

    Args:
        name: of the probe.
        url: as libpq reads it.
        length: of an answer, in bytes.
        is_kept: whether the connection is kept until it breaks.
    """

    def __init__(self, name: str, url: str, length: int, *, is_kept: bool) -> None:
        self.name = name
        self._url = url
        self._length = length
        self._is_kept = is_kept
        self._connection: psycopg.Connection[tuple[str]] | None = None

    def look(self) -> Answer:
        """Query once."""
        abandoned = threading.Event()
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._url, connect_timeout=_SMALLEST_CONNECT_TIMEOUT_SECONDS, autocommit=True
                )
            connection = self._connection
            timer = threading.Timer(PATIENCE_SECONDS, _cut, (connection, abandoned))
            timer.start()
            try:
                connection.execute("SELECT repeat('x', %s::int)", (self._length,)).fetchone()
            finally:
                timer.cancel()
        except (psycopg.Error, OSError) as error:
            self.close()
            if abandoned.is_set() or isinstance(error, psycopg.errors.ConnectionTimeout):
                return Answer(False, SILENT)
            return Answer(False, CLOSED)
        if not self._is_kept:
            self.close()
        return Answer(True, ANSWERED)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()


class CallCanary:
    """Calls something on this machine that raises an OSError, or an error of SQLite, where it is away.

    Args:
        name: of the probe.
        call: called for each look.
    """

    def __init__(self, name: str, call: Callable[[], object]) -> None:
        self.name = name
        self._call = call

    def look(self) -> Answer:
        """Call once."""
        try:
            self._call()
        except (OSError, sqlite3.Error) as error:
            return Answer(False, " ".join(str(error).split())[:80])
        return Answer(True, ANSWERED)

    def close(self) -> None:
        """It holds nothing."""


def sqlite_canary(name: str, catalog: Path) -> Probe:
    """Reads the catalog of the embedded stack without waiting for a lock."""

    def read() -> None:
        with contextlib.closing(sqlite3.connect(catalog, timeout=0.0)) as connection:
            connection.execute("SELECT count(*) FROM iceberg_tables").fetchone()

    return CallCanary(name, read)


def folder_canary(name: str, folder: Path) -> Probe:
    """Lists a folder of the warehouse of the embedded stack."""
    return CallCanary(name, lambda: os.listdir(folder))


def _kafka_answers(received: bytes) -> int:
    """Whole answers, each behind its length."""
    found = place = 0
    while len(received) - place >= 4:
        place += 4 + int.from_bytes(received[place : place + 4], "big")
        found += place <= len(received)
    return found


def _http_answers(received: bytes) -> int:
    """Whole answers: those whose body is as long as their head says."""
    found = place = 0
    while (end := received.find(b"\r\n\r\n", place)) >= 0:
        fields = _fields(received[place:end])
        place = end + 4 + int(fields.get(b"content-length", b"0"))
        if fields.get(b"transfer-encoding") == b"chunked":
            last = received.find(b"0\r\n\r\n", end + 4)
            place = last + 5 if last >= 0 else len(received) + 1
        found += place <= len(received)
        if place > len(received):
            break
    return found


def _fields(head: bytes) -> Mapping[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
    return {name.strip(): value.strip() for name, _, value in pairs}


def _redis_command(*words: str) -> bytes:
    parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{parts}".encode()


def _cut(connection: "psycopg.Connection[tuple[str]]", noted: threading.Event) -> None:
    """End whatever waits for an answer on it, with an error."""
    noted.set()
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
