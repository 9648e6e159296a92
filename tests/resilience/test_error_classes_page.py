"""The page of error classes says what the rules say."""

import re

from k2.resilience.rule import FailureClass
from k2.resilience.rules import RULES
from scripts.document_error_classes import PAGE, main, page

ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]*) \| (\w+) \| ([^|]+) \|$", re.MULTILINE)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/document_error_classes.py"
    assert main(["--check"]) == 0


def test_every_rule_is_a_row_of_the_page() -> None:
    rows = {
        (tuple(re.findall("`([^`]+)`", names)), tuple(re.findall("`([^`]+)`", codes)), FailureClass(kind), why)
        for names, codes, kind, why in ROW.findall(page())
    }
    assert rows == {(rule.exceptions, rule.codes, rule.failure_class, rule.why) for rule in RULES}
