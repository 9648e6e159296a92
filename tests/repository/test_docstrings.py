"""Whatever is public says what it is."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

DOCUMENTED_PACKAGES = ("k2", "conformance", "chaos", "load", "reports")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(paths: Iterable[Path]) -> list[str]:
    """Public modules, classes, functions and methods without a docstring, as "path:line name"."""
    found = []
    for path in paths:
        module = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(module):
            found.append(f"{path}:1 module")
        found += [
            f"{path}:{definition.lineno} {definition.name}"
            for definition in public_definitions(module)
            if not ast.get_docstring(definition)
        ]
    return found


def public_definitions(holder: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Definitions a reader of the module can name: not private, not local to a function, no further overloads."""
    for node in holder.body:
        if not isinstance(node, Definition) or node.name.startswith(("_", "test_")) or is_overload_or_setter(node):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node)


def is_overload_or_setter(node: Definition) -> bool:
    """Whether the documented definition of the same name stands elsewhere."""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return bool(decorators & {"overload", "typing.overload", f"{node.name}.setter"})


def test_everything_public_has_a_docstring(python_files: list[Path], root: Path) -> None:
    public = [path for path in python_files if path.relative_to(root).parts[0] in DOCUMENTED_PACKAGES]
    assert len(public) > 10
    assert not undocumented(public)


def test_each_missing_docstring_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "class Documented:\n"
        '    """Yes."""\n'
        "    def bare_method(self): ...\n"
        "    def _private(self): ...\n"
        "class Bare: ...\n"
        "async def bare_function():\n"
        "    def local(): ...\n"
        "def _private(): ...\n"
    )
    assert undocumented([module]) == [
        f"{module}:1 module",
        f"{module}:3 bare_method",
        f"{module}:5 Bare",
        f"{module}:6 bare_function",
    ]
