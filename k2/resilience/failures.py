"""What a failure means: looked up in the table of rules, so that nothing is retried or given up by accident.

The most specific statement wins: one about the error's own code before one about its kind, one about its own class
before one about a base class. What nobody has named is FATAL and says so; it is never retried for ever in silence.
"""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from k2.errors import K2Error, RecordError, RefusedError, UnavailableError
from k2.resilience.rule import FailureClass, Rule
from k2.resilience.rules import RULES

_LONGEST_TEXT_CHARACTERS = 200
_BY_NAME_AND_CODE = {(name, code): rule for rule in RULES for name in rule.exceptions for code in rule.codes or (None,)}
_STORE_ERROR = re.compile(r"AWS Error ([A-Z_]+)(?: \(HTTP status (\d{3})\))?")
# PostgreSQL's client keeps the code of a refused connection to itself, so its words are all there is.
_REFUSED_CONNECTIONS = (
    ("password authentication failed", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("is not permitted to log in", "28000"),
    ('role "', "28000"),
    ('database "', "3D000"),
    ("too many clients", "53300"),
    ("remaining connection slots", "53300"),
    ("the database system is", "57P03"),
)
_ERRORS: dict[FailureClass, type[K2Error]] = {
    FailureClass.TRANSIENT: UnavailableError,
    FailureClass.PERMANENT: RecordError,
    FailureClass.FATAL: RefusedError,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """The meaning of one exception.

    Attributes:
        failure_class: what is to be done.
        reason: short stable name of what happened, for logs and metrics: the code where there is one, else the class.
        why: one sentence.
        rule: the statement this follows from; None where nobody has made one.
    """

    failure_class: FailureClass
    reason: str
    why: str
    rule: Rule | None


def classify(error: BaseException) -> Failure:
    """What an exception means."""
    codes = _codes(error)
    reason = codes[0] if codes else type(error).__name__
    names = [_qualified_name(kind) for kind in type(error).__mro__]
    for code in (*codes, None):
        for name in names:
            rule = _BY_NAME_AND_CODE.get((name, code))
            if rule is not None:
                return Failure(rule.failure_class, reason, rule.why, rule)
    why = f"Nobody has classified {names[0]}; stopping is safer than guessing."
    return Failure(FailureClass.FATAL, reason, why, None)


def is_transient(error: BaseException) -> bool:
    """Whether what failed is to be tried again."""
    return classify(error).failure_class is FailureClass.TRANSIENT


def translated(error: Exception, doing: str, remedy: str = "") -> K2Error:
    """Our error for a library's: what was being done, what the library says, what that means.

    Args:
        error: the library's.
        doing: what was being done, and where.
        remedy: what to look at where the other side does not answer; the rule's reason otherwise.

    Returns:
        UnavailableError for transient failures, RecordError for permanent ones, RefusedError for fatal ones.
    """
    failure = classify(error)
    hint = remedy if remedy and failure.failure_class is FailureClass.TRANSIENT else failure.why
    return _ERRORS[failure.failure_class](f"{doing}: {text_of(error)}. {hint}")


@contextmanager
def translating(doing: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever a library raises into ours (see `translated`).

    K2's own errors pass unchanged, and so do those that no rule names: they are mistakes that need their traceback.

    Raises:
        UnavailableError: the failure is transient.
        RecordError: it is one record's fault.
        RefusedError: trying again cannot help.
    """
    try:
        yield
    except K2Error:
        raise
    except Exception as error:
        if classify(error).rule is None:
            raise
        raise translated(error, doing, remedy) from error


def text_of(error: Exception) -> str:
    """The first line of what an error says, shortened, without its full stop.

    Of what the object store's client says only what comes after the name of the file, which may be longer than all.
    """
    said = next((argument.str() for argument in error.args[:1] if hasattr(argument, "fatal")), str(error))
    store = _STORE_ERROR.search(said) if isinstance(error, OSError) else None
    lines = said[store.start() if store is not None else 0 :].strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:_LONGEST_TEXT_CHARACTERS].rstrip(".")


def _qualified_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _codes(error: BaseException) -> tuple[str, ...]:
    """The error's codes, the most specific first."""
    for kind in type(error).__mro__:
        reader = _CODE_READERS.get(_qualified_name(kind))
        if reader is not None:
            return tuple(reader(error))
    return ()


def _kafka_codes(error: Any) -> Iterator[str]:
    for argument in error.args[:1]:
        if hasattr(argument, "fatal"):
            if argument.fatal():
                yield "fatal"
            yield argument.name()


def _http_codes(error: Any) -> Iterator[str]:
    own = getattr(error, "error_code", None) or 0
    if own > 0:
        yield str(own)
    status = getattr(error, "http_status_code", None) or getattr(error, "status_code", None)
    if status:
        yield str(status)
        yield f"{status // 100}xx"


def _database_codes(error: Any) -> Iterator[str]:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if not state:
        said = str(error.orig)
        state = next((code for words, code in _REFUSED_CONNECTIONS if words in said), None)
    if state:
        yield state
        yield state[:2]
    words = (getattr(error.orig, "sqlite_errorname", None) or "").split("_")
    for length in range(len(words), 1, -1):
        yield "_".join(words[:length])
    if error.connection_invalidated:
        yield "connection_invalidated"


def _system_codes(error: Any) -> Iterator[str]:
    name = errno.errorcode.get(error.errno)
    if name is not None:
        yield name
    elif store := _STORE_ERROR.search(str(error)):
        name, status = store.groups()
        yield from (f"S3_HTTP_{status}", f"S3_HTTP_{status[0]}xx") if status else (f"S3_{name}",)


_CODE_READERS: dict[str, Callable[[Any], Iterator[str]]] = {
    "cimpl.KafkaException": _kafka_codes,
    "confluent_kafka.schema_registry.error.SchemaRegistryError": _http_codes,
    "confluent_kafka.schema_registry.error.OAuthTokenError": _http_codes,
    "sqlalchemy.exc.DBAPIError": _database_codes,
    "OSError": _system_codes,
}
