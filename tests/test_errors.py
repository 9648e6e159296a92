"""The tree of errors: the classes, its drawing and the document of exit codes say the same."""

import re
from pathlib import Path

import pytest

from k2 import errors
from k2.cli import USAGE_EXIT_CODE
from k2.commands.context import FOUND_EXIT_CODE, INTERRUPTED_EXIT_CODE
from k2.errors import K2Error

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "exit-codes.md"
CLASSES = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, K2Error)}


def drawn() -> dict[str, tuple[int, str | None, int]]:
    """For each class of the drawing its depth, its parent, and its own or inherited exit code."""
    found: dict[str, tuple[int, str | None, int]] = {}
    branch: list[str] = []
    for prefix, name, code in re.findall(
        r"^    ((?:\|  )*(?:\|- )?)(\w+Error)(?: +exit (\d+))?", errors.__doc__ or "", re.M
    ):
        depth = len(prefix) // 3
        parent = branch[depth - 1] if depth else None
        branch[depth:] = [name]
        found[name] = (depth, parent, int(code) if code else found[parent or name][2])
    return found


def test_the_drawing_has_every_class_and_no_other() -> None:
    assert set(drawn()) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_has_the_place_and_the_exit_code_of_the_drawing(name: str) -> None:
    _, parent, exit_code = drawn()[name]
    assert CLASSES[name].exit_code == exit_code
    if parent is not None:
        assert CLASSES[name].__bases__[0] is CLASSES[parent]


def test_the_document_has_every_exit_code_and_no_other() -> None:
    section = DOCUMENT.read_text().split("## ")[1]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.M)}
    own = {kind.exit_code for kind in CLASSES.values() if kind is not K2Error}
    assert documented == own | {0, FOUND_EXIT_CODE, USAGE_EXIT_CODE, INTERRUPTED_EXIT_CODE}
