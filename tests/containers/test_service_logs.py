"""Error lines of servers: found in each server's own form, and forgiven only with a reason."""

import re
from pathlib import Path

import pytest

from conformance.stacks.containers.errors import CatalogueError
from conformance.stacks.containers.service_logs import (
    ErrorLine,
    ExpectedError,
    read_expected_errors,
    unexpected_errors,
)

ERRORS = {
    "kafka-1": "2026-11-21T19:18:44.234Z ERROR Disk error while writing (kafka.log.LogManager)",
    "postgres": "2026-11-21 19:19:35.965 UTC [226] k2@catalog PANIC:  could not write to file",
    "schema-registry-1": "2026-11-21 19:18:44,1 ERROR [io.apicurio] (main) failed",
    "prometheus": 'ts=2026-11-21T19:18:44.1Z caller=main.go:1 level=error msg="opening storage failed"',
    "toxiproxy": '{"level":"error","message":"no such proxy"}',
    "object-store": "panic: runtime error: index out of range",
    "kafka-2": "java.lang.OutOfMemoryError: Java heap space",
}
HARMLESS = {
    "kafka-1": "2026-11-21T19:18:44.234Z INFO no errors so far, errors=0 (kafka.log.LogManager)",
    "prometheus": 'level=info msg="error rate is 0"',
    "toxiproxy": '{"level":"warn","error":"use of closed network connection"}',
}


def test_each_servers_own_form_of_an_error_is_found() -> None:
    found = unexpected_errors(ERRORS, ())
    assert found == [ErrorLine(service, line) for service, line in ERRORS.items()]


def test_what_only_speaks_of_errors_is_none() -> None:
    assert unexpected_errors(HARMLESS, ()) == []


def test_what_is_expected_of_one_service_is_not_of_another() -> None:
    expected = [ExpectedError("kafka-*", re.compile("Disk error"), "it is full on purpose")]
    assert ErrorLine("kafka-1", ERRORS["kafka-1"]) not in unexpected_errors(ERRORS, expected)
    moved = {"postgres": ERRORS["kafka-1"]}
    assert unexpected_errors(moved, expected) == [ErrorLine("postgres", ERRORS["kafka-1"])]


def test_every_entry_of_the_list_has_a_reason_and_forgives_none_of_these() -> None:
    expected = read_expected_errors()
    assert all(len(entry.reason) > 20 for entry in expected)
    assert len(unexpected_errors(ERRORS, expected)) == len(ERRORS)


@pytest.mark.parametrize(
    "text",
    [
        '[[expected]]\nservice = "a"\npattern = "b"\nreason = " "',
        '[[expected]]\nservice = "a"\npattern = "("\nreason="c"',
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"^[^\n]*expected\.toml[^\n]*$"):
        read_expected_errors(path)
