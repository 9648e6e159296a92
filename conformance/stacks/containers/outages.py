"""Servers that are gone for a while, for the processes that come through Toxiproxy."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import sqlalchemy

from conformance.stacks.containers.proxies import Proxies

_HELD = "held_back"
_LOST = "answers_lost"
_THROTTLED = "throttled"


@contextmanager
def disabled(proxies: Proxies, names: Iterable[str]) -> Iterator[None]:
    """Proxies close their connections and accept none."""
    with ExitStack() as healed:
        for name in names:
            healed.callback(proxies.enable, name)
            proxies.disable(name)
        yield


@contextmanager
def held_back(proxies: Proxies, names: Iterable[str]) -> Iterator[None]:
    """Nothing passes the proxies in either direction, their connections stay open."""
    with ExitStack() as healed:
        for name in names:
            for stream in ("upstream", "downstream"):
                toxic = f"{_HELD}_{stream}"
                proxies.add_toxic(name, "timeout", {"timeout": 0}, toxic=toxic, stream=stream)
                healed.callback(proxies.remove_toxic, name, toxic)
        yield


@contextmanager
def answers_lost(proxies: Proxies, names: Iterable[str]) -> Iterator[None]:
    """Requests pass the proxies and answers do not; at the end connections are closed, for what was said is gone."""
    with ExitStack() as healed:
        for name in names:
            proxies.add_toxic(name, "timeout", {"timeout": 0}, toxic=_LOST, stream="downstream")
            healed.callback(proxies.enable, name)
            healed.callback(proxies.remove_toxic, name, _LOST)
            healed.callback(proxies.disable, name)
        yield


@contextmanager
def throttled(proxies: Proxies, name: str, kilobytes_per_second: int) -> Iterator[None]:
    """No connection through a proxy sends its server more than this."""
    proxies.add_toxic(name, "bandwidth", {"rate": kilobytes_per_second}, toxic=_THROTTLED, stream="upstream")
    try:
        yield
    finally:
        proxies.remove_toxic(name, _THROTTLED)


@contextmanager
def locked(catalog_uri: str) -> Iterator[None]:
    """Another session holds a lock on the catalog's tables that lets nobody read them."""
    url = sqlalchemy.make_url(catalog_uri).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute("LOCK TABLE iceberg_tables IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            connection.rollback()
