"""Files and functions stay small enough to be read at one sitting, and modules are named for what they do."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc"}


def long_files(paths: Iterable[Path]) -> list[str]:
    """Files over the limit, as "path: lines"."""
    counted = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in paths)
    return [f"{path}: {lines} lines" for path, lines in counted if lines > LONGEST_FILE_LINES]


def long_functions(paths: Iterable[Path]) -> list[str]:
    """Functions over the limit, nested ones included in what holds them, as "path:line name: lines"."""
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION_LINES:
                    found.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    return found


def empty_names(paths: Iterable[Path]) -> list[str]:
    """Modules, or packages they are in, whose name says nothing."""
    return [str(path) for path in paths if NAMES_THAT_SAY_NOTHING & {*path.parts[:-1], path.stem}]


def test_no_file_is_too_long(python_files: list[Path]) -> None:
    assert not long_files(python_files)


def test_no_function_is_too_long(python_files: list[Path]) -> None:
    assert not long_functions(python_files)


def test_no_module_is_a_kitchen_sink(python_files: list[Path], root: Path) -> None:
    assert not empty_names(path.relative_to(root) for path in python_files)


@pytest.mark.parametrize(("lines", "found"), [(LONGEST_FILE_LINES, 0), (LONGEST_FILE_LINES + 1, 1)])
def test_a_file_one_line_over_the_limit_is_found(tmp_path: Path, lines: int, found: int) -> None:
    module = tmp_path / "module.py"
    module.write_text("x = 1\n" * lines)
    assert len(long_files([module])) == found


@pytest.mark.parametrize("keyword", ["def", "async def"])
@pytest.mark.parametrize(("lines", "found"), [(LONGEST_FUNCTION_LINES, 0), (LONGEST_FUNCTION_LINES + 1, 1)])
def test_a_function_one_line_over_the_limit_is_found(tmp_path: Path, keyword: str, lines: int, found: int) -> None:
    module = tmp_path / "module.py"
    module.write_text(f"class C:\n    {keyword} long(self):\n" + "        x = 1\n" * (lines - 1))
    assert len(long_functions([module])) == found


def test_a_kitchen_sink_is_found_as_a_module_and_as_a_package() -> None:
    paths = [Path("k2/utils.py"), Path("k2/common/clock.py"), Path("k2/commonality.py")]
    assert empty_names(paths) == ["k2/utils.py", "k2/common/clock.py"]
