"""Every exception of a library that K2 talks to has a stated class, and the most specific statement wins."""

import errno
import json
from types import ModuleType

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError
from sqlalchemy.exc import DBAPIError, OperationalError

from conformance.drivers.library_errors import MODULES, exceptions_of, kafka_errors, library_exceptions
from k2 import errors
from k2.errors import K2Error, RecordError, RefusedError, UnavailableError, UsageError
from k2.resilience.failures import classify, is_transient, text_of, translated, translating
from k2.resilience.rule import FailureClass
from k2.resilience.rules import RULES

TRANSIENT, PERMANENT, FATAL = FailureClass
NAMED = {name for rule in RULES for name in rule.exceptions}
KAFKA_ERRORS = dict(kafka_errors())


@pytest.mark.parametrize("module", MODULES)
def test_every_exception_of_the_library_is_named_by_a_rule(module: str) -> None:
    found = library_exceptions(module)
    assert found
    assert set(found) - NAMED == set()


def test_an_exception_that_a_library_adds_is_noticed() -> None:
    library = ModuleType("k2.planted")
    library.AddedError = type("AddedError", (UnavailableError,), {"__module__": "k2.planted"})  # type: ignore[attr-defined]
    assert set(exceptions_of(library)) - NAMED == {"k2.planted.AddedError"}


@pytest.mark.parametrize("name", KAFKA_ERRORS)
def test_every_code_of_the_kafka_client_is_named_by_a_rule(name: str) -> None:
    failure = classify(KAFKA_ERRORS[name])
    assert failure.reason == name
    assert failure.rule is not None
    assert name in failure.rule.codes


def test_there_are_codes_to_look_at() -> None:
    assert {"_TRANSPORT", "TOPIC_AUTHORIZATION_FAILED", "MSG_SIZE_TOO_LARGE"} < set(KAFKA_ERRORS)
    assert len(KAFKA_ERRORS) > 150


def test_no_rule_speaks_of_what_the_libraries_do_not_have() -> None:
    codes = {code for rule in RULES if rule.exceptions == ("cimpl.KafkaException",) for code in rule.codes}
    assert codes - set(KAFKA_ERRORS) == {"fatal"}
    numbers = {code for rule in RULES if rule.exceptions == ("OSError",) for code in rule.codes}
    assert {name for name in numbers if not hasattr(errno, name) and not name.startswith("S3_")} == set()
    importable = {name for module in MODULES for name in library_exceptions(module)}
    libraries = {"cimpl", *(module.split(".")[0] for module in MODULES)}
    own = {name for name in NAMED if name.split(".")[0] in libraries}
    assert own - importable == set()


def test_no_two_rules_contradict_each_other() -> None:
    keys = [(name, code) for rule in RULES for name in rule.exceptions for code in rule.codes or (None,)]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.exceptions[0]} {' '.join(rule.codes[:1])}")
def test_every_rule_gives_its_reason_in_one_sentence(rule: object) -> None:
    why = rule.why  # type: ignore[attr-defined]
    assert why[0].isupper()
    assert why.endswith(".")
    assert ". " not in why
    assert "|" not in why


@pytest.mark.parametrize(
    ("error", "failure_class", "reason"),
    [
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), TRANSIENT, "_TRANSPORT"),
        (KafkaException(KafkaError(KafkaError._TRANSPORT, "gone", True)), FATAL, "fatal"),
        (KafkaException("no KafkaError at all"), FATAL, "KafkaException"),
        (SchemaRegistryError(404, 40403, "no such schema"), PERMANENT, "40403"),
        (SchemaRegistryError(404, -1, "<html>"), FATAL, "404"),
        (SchemaRegistryError(599, 0, "new in 2030"), TRANSIENT, "599"),
        (SchemaRegistryError(302, 0, "elsewhere"), FATAL, "302"),
        (OAuthTokenError("no token", 401), FATAL, "401"),
        (OAuthTokenError("no token"), TRANSIENT, "OAuthTokenError"),
        (OSError(errno.ENOSPC, "full"), TRANSIENT, "ENOSPC"),
        (PermissionError(errno.EACCES, "no"), FATAL, "EACCES"),
        (OSError("no number"), TRANSIENT, "OSError"),
        (OSError(10_000, "an unknown number"), TRANSIENT, "OSError"),
        (UnavailableError("x"), TRANSIENT, "UnavailableError"),
        (RefusedError("x"), FATAL, "RefusedError"),
        (json.JSONDecodeError("x", "y", 0), FATAL, "JSONDecodeError"),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Exception) else str(value),
)
def test_an_error_s_code_goes_before_its_class(error: Exception, failure_class: FailureClass, reason: str) -> None:
    failure = classify(error)
    assert (failure.failure_class, failure.reason) == (failure_class, reason)
    assert failure.rule is not None


class PostgresError(Exception):
    """What a PostgreSQL driver raises, as far as it is read."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the database's words")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "failure_class"),
    [
        ("08006", TRANSIENT),
        ("40001", TRANSIENT),
        ("53300", TRANSIENT),
        ("57P03", TRANSIENT),
        ("28P01", FATAL),
        ("42501", FATAL),
        ("3D000", FATAL),
        (None, TRANSIENT),
        ("0A000", TRANSIENT),
    ],
)
def test_an_sqlstate_is_read_in_full_and_then_by_its_class(sqlstate: str | None, failure_class: FailureClass) -> None:
    error = OperationalError("SELECT 1", {}, PostgresError(sqlstate))
    failure = classify(error)
    assert failure.failure_class is failure_class
    assert failure.reason == (sqlstate or "OperationalError")


def test_a_connection_that_was_lost_is_transient_whatever_the_kind() -> None:
    error = DBAPIError("SELECT 1", {}, PostgresError(None), connection_invalidated=True)
    assert classify(error).reason == "connection_invalidated"
    assert is_transient(error)


class NewProgressError(errors.ProgressError):
    """One that no rule names yet."""


def test_a_class_without_a_rule_is_taken_for_its_nearest_base() -> None:
    failure = classify(NewProgressError("x"))
    assert failure.failure_class is FATAL
    assert failure.rule is not None
    assert "k2.errors.ProgressError" in failure.rule.exceptions


def test_what_nobody_has_named_is_fatal_and_says_so() -> None:
    failure = classify(ZeroDivisionError("x"))
    assert (failure.failure_class, failure.rule) == (FATAL, None)
    assert failure.why == "Nobody has classified ZeroDivisionError; stopping is safer than guessing."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EIO, "broken"), UnavailableError),
        (KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), RecordError),
        (OSError(errno.EACCES, "no"), RefusedError),
    ],
    ids=["transient", "permanent", "fatal"],
)
def test_a_library_s_error_becomes_ours_in_one_line(error: Exception, kind: type[K2Error]) -> None:
    with pytest.raises(kind) as caught, translating("opening the door"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
    assert str(caught.value) == f"opening the door: {text_of(error)}. {classify(error).why}"
    assert "\n" not in str(caught.value)


def test_a_remedy_is_given_where_the_other_side_is_silent_and_the_reason_where_it_refuses() -> None:
    silent = translated(OSError(errno.EIO, "broken"), "opening", "Check the lock")
    refused = translated(OSError(errno.EACCES, "no"), "opening", "Check the lock")
    assert str(silent) == "opening: [Errno 5] broken. Check the lock"
    assert str(refused) == "opening: [Errno 13] no. The right is missing, until somebody grants it."


@pytest.mark.parametrize("error", [UsageError("ours"), ZeroDivisionError("a mistake")], ids=["ours", "unnamed"])
def test_our_own_errors_and_mistakes_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translating("opening"):
        raise error
    assert caught.value is error


def test_only_the_first_line_of_what_a_library_says_is_kept() -> None:
    assert text_of(ValueError("first.\nsecond")) == "first"
    assert text_of(ValueError("x" * 10_000)) == "x" * 200
    assert text_of(ValueError()) == "ValueError"
    assert text_of(KafkaException(KafkaError(KafkaError._TRANSPORT))) == "Local: Broker transport failure"
