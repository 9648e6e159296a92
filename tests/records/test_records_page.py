"""The page about records says what definitions and rules say."""

import re

from k2.records.decode import REASONS
from k2.records.definition import RECORD_TYPES
from k2.records.validation import Action, QualityFlag, rules_for
from scripts.document_records import PAGE, main, page


def cells(text: str) -> list[tuple[str, ...]]:
    """The cells of every row of every table."""
    lines = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/document_records.py"
    assert main(["--check"]) == 0


def test_every_rule_is_on_the_page_with_its_action() -> None:
    shown = {row[0].strip("`| "): row[3].strip("| ") for row in cells(page()) if len(row) == 4}
    for record_type in RECORD_TYPES.values():
        for rule in rules_for(record_type):
            action = "reject" if rule.action is Action.REJECT else f"flag, bit {rule.flag.value}"
            assert shown[rule.name] == action


def test_every_flag_and_every_reason_is_on_the_page() -> None:
    text = page()
    for flag in QualityFlag:
        assert f"| {flag.value} | `{str(flag.name).lower()}` | " in text
    for reason in REASONS:
        assert f"| `{reason}` | " in text


def test_every_field_is_on_the_page() -> None:
    text = page()
    for record_type in RECORD_TYPES.values():
        section = text.split(f"## {record_type.name}\n")[1].split("\n## ")[0]
        for field in record_type.fields:
            assert f"| `{field.name}` | {field.field_id} | " in section
