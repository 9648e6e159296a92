"""docs/producer.md says what is so: every test it names exists, and so do the settings, reasons and counts."""

import ast
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from k2.ingestion import producer_account
from k2.ingestion.producer import ProducerStatistics
from k2.settings import ProducerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "producer.md").read_text(encoding="utf-8")
TESTS = Path(__file__).with_name("test_producer_life_cycle.py")
ROW = re.compile(r"^\| (?P<group>[a-z ]+) (?P<number>\d) \| .+ \| (?P<tests>`.+`) \|$", re.MULTILINE)
BEHAVIOURS = {"context manager": 4, "close": 4, "after close": 5, "resources": 3, "exceptions": 2, "several": 2}


def named_tests(page: str) -> list[str]:
    """Every `Class::test` of a page."""
    return re.findall(r"`(Test\w+::test_\w+)`", page)


def existing_tests(source: str) -> set[str]:
    """Every test in a class, as `Class::test`."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return {
        f"{group.name}::{test.name}"
        for group in classes
        for test in group.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    }


def settings_rows(page: str) -> dict[str, str]:
    """Settings of a page and what it says they are if nothing is set."""
    return dict(re.findall(r"^\| `producer\.(\w+)` \| (\S+) \|", page, re.MULTILINE))


def test_every_test_it_names_exists() -> None:
    assert sorted(set(named_tests(PAGE)) - existing_tests(TESTS.read_text(encoding="utf-8"))) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    assert named_tests("| `TestA::test_one`, `TestA::test_two` |") == ["TestA::test_one", "TestA::test_two"]
    assert existing_tests("class TestA:\n    def test_one(self): ...\n    def other(self): ...") == {"TestA::test_one"}


def test_it_lists_the_twenty_behaviours() -> None:
    rows = [match.groupdict() for match in ROW.finditer(PAGE)]
    assert dict(Counter(row["group"] for row in rows)) == BEHAVIOURS
    assert sum(BEHAVIOURS.values()) == 20


def test_its_settings_are_those_of_the_producer() -> None:
    stated = settings_rows(PAGE)
    assert stated == {name: str(field.default) for name, field in ProducerSettings.model_fields.items()}
    for name in stated:
        assert f"`K2_PRODUCER__{name.upper()}`" in PAGE


@pytest.mark.parametrize("name", [field.name for field in fields(ProducerStatistics)])
def test_it_explains_every_statistic(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}`", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    "reason",
    [
        producer_account.UNFIT,
        producer_account.NO_SCHEMA,
        producer_account.QUEUE_FULL,
        producer_account.CIRCUIT_OPEN,
    ],
)
def test_it_explains_every_reason_of_our_own(reason: str) -> None:
    assert f"\n| `{reason}` | " in PAGE
