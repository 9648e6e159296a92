"""Documents that promise a number of behaviours name a test for each, and each of those tests is there.

A document promises under a heading `## The N behaviours`. Its parts `### Name (n)` add up to N, and each part has a
table of n rows that name a test: `tests/folder/test_file.py::test_name`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROMISE = re.compile(r"^## The (\d+) behaviours$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PART = re.compile(r"^### ([^\n(]+) \((\d+)\)$(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (?!behaviour|-)(.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISED = {"docs/consumer.md": 29, "docs/query.md": 13, "docs/storage.md": 8}


def shortcomings(text: str, root: Path) -> Iterator[str]:
    """What is wrong with the behaviours that a document promises."""
    for promise in PROMISE.finditer(text):
        parts = [(part[1], int(part[2]), part[3]) for part in PART.finditer(promise[2])]
        if sum(number for _, number, _ in parts) != int(promise[1]):
            yield f"{promise[1]} behaviours are promised, the parts have {sum(number for _, number, _ in parts)}"
        named: list[tuple[str, str]] = []
        for part, number, table in parts:
            rows = ROW.findall(table)
            if len(rows) != number:
                yield f"{part} promises {number} behaviours and has {len(rows)}"
            for row in rows:
                tests = TEST.findall(row)
                if len(tests) != 1:
                    yield f"{part}: no one test is named in: {row}"
                named += tests
        yield from (f"{path}::{name} is named twice" for path, name in set(named) if named.count((path, name)) > 1)
        yield from (f"{path}::{name} is not there" for path, name in named if name not in functions_in(root / path))


def functions_in(path: Path) -> set[str]:
    """The test functions of a file."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_promised_behaviour_has_a_test(root: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((root / "docs").glob("*.md"))}
    assert not [f"{path.name}: {wrong}" for path, text in texts.items() for wrong in shortcomings(text, root)]


@pytest.mark.parametrize(("document", "number"), PROMISED.items())
def test_the_behaviours_are_as_many_as_were_asked_for(root: Path, document: str, number: int) -> None:
    (promise,) = PROMISE.finditer((root / document).read_text(encoding="utf-8"))
    assert int(promise[1]) == number


@pytest.mark.parametrize(
    ("changed", "to", "wrong"),
    [
        ("The 2", "The 3", "3 behaviours are promised, the parts have 2"),
        ("Close (1)", "Close (2)", "Close promises 2 behaviours and has 1"),
        ("::test_two", "::test_three", "tests/test_some.py::test_three is not there"),
        ("::test_two", "::test_one", "tests/test_some.py::test_one is named twice"),
        ("test_some.py::test_two", "test_other.py::test_two", "tests/test_other.py::test_two is not there"),
        ("`tests/test_some.py::test_two`", "", "Close: no one test is named in: closes twice | "),
    ],
)
def test_a_promise_that_is_not_kept_is_found(tmp_path: Path, changed: str, to: str, wrong: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text("def test_one(): ...\ndef test_two(): ...\n")
    text = (
        "# Page\n\n## The 2 behaviours\n\nWords.\n\n### Open (1)\n\n| behaviour | test |\n|---|---|\n"
        "| opens | `tests/test_some.py::test_one` |\n\n### Close (1)\n\n| behaviour | test |\n|---|---|\n"
        "| closes twice | `tests/test_some.py::test_two` |\n\n## Next\n"
    )
    assert list(shortcomings(text, tmp_path)) == []
    assert wrong in list(shortcomings(text.replace(changed, to), tmp_path))
