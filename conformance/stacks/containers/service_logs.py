"""Error lines in the logs of servers, and which of them are expected: a pure function and a list with reasons."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from conformance.stacks.containers.errors import CatalogueError

EXPECTED_ERRORS = Path(__file__).with_name("expected_errors.toml")
_ERROR_LINE = re.compile(
    r"""\b(?:ERROR|FATAL|PANIC|SEVERE)\b            # Kafka, the registry, PostgreSQL
    | \blevel=(?:error|fatal)\b                     # Prometheus and its kin
    | "level":"(?:error|fatal|panic)"               # Toxiproxy
    | ^\S*\s*panic:                                 # what Go programs end with
    | Exception\ in\ thread | OutOfMemoryError""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """Error lines that are no reason to worry.

    Attributes:
        service: name, or a pattern such as "kafka-*".
        pattern: regular expression that is found in the line.
        reason: why it is harmless.
    """

    service: str
    pattern: re.Pattern[str]
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """A line of a service's log that tells of an error."""

    service: str
    text: str


def unexpected_errors(logs: Mapping[str, str], expected: Iterable[ExpectedError]) -> list[ErrorLine]:
    """The error lines of these logs, by service, that nothing expects."""
    known = tuple(expected)
    return [
        ErrorLine(service, line)
        for service, text in logs.items()
        for line in text.splitlines()
        if _ERROR_LINE.search(line) and not any(_matches(entry, service, line) for entry in known)
    ]


def read_expected_errors(path: Path = EXPECTED_ERRORS) -> tuple[ExpectedError, ...]:
    """The list.

    Raises:
        CatalogueError: it cannot be used; an entry without a reason is none.
    """
    try:
        entries = tomllib.loads(path.read_text())["expected"]
        found = tuple(
            ExpectedError(entry["service"], re.compile(entry["pattern"]), entry["reason"]) for entry in entries
        )
    except (OSError, KeyError, tomllib.TOMLDecodeError, re.error) as error:
        raise CatalogueError(f"{path} cannot be used: {error!r}") from None
    for entry in found:
        if not entry.reason.strip():
            raise CatalogueError(f"{path}: {entry.pattern.pattern!r} has no reason")
    return found


def _matches(entry: ExpectedError, service: str, line: str) -> bool:
    return fnmatch(service, entry.service) and entry.pattern.search(line) is not None
