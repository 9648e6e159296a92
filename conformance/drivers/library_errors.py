"""What the libraries can raise, read from the libraries themselves: an upgrade that adds something is noticed."""

import inspect
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.schema_registry.common._httpx_compat import httpx

MODULES = (
    "confluent_kafka.cimpl",
    "confluent_kafka.error",
    "confluent_kafka.serialization",
    "confluent_kafka.schema_registry.error",
    httpx.__name__,
    "pyiceberg.exceptions",
    "pyarrow.lib",
    "sqlalchemy.exc",
    "sqlalchemy.orm.exc",
    "redis.exceptions",
    "k2.errors",
)
"""Where the libraries that K2 talks to keep their exceptions; the HTTP library is the one the registry client found."""
_COMPILED = {"confluent_kafka": "cimpl"}
"""Compiled parts of a library that call themselves something else."""


def exceptions_of(module: ModuleType) -> dict[str, type[Exception]]:
    """Exceptions that a module offers and its own library defines, by qualified name; warnings are none."""
    library = module.__name__.split(".")[0]
    own = {library, _COMPILED.get(library, library)}
    return {
        f"{kind.__module__}.{kind.__qualname__}": kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, Warning) and kind.__module__.split(".")[0] in own
    }


def library_exceptions(module_name: str) -> dict[str, type[Exception]]:
    """The same for the module of a name."""
    with warnings.catch_warnings():
        # Looking at every name of a module touches deprecated ones.
        warnings.simplefilter("ignore")
        return exceptions_of(import_module(module_name))


def kafka_errors() -> Iterator[tuple[str, KafkaException]]:
    """Every code the Kafka client knows, by name, as the exception that carries it."""
    for name, value in sorted(vars(KafkaError).items()):
        if isinstance(value, int) and not name.startswith("__"):
            yield name, KafkaException(KafkaError(value))
