"""Which modules of a source tree reach a library or a program, read from their syntax; nothing is imported."""

import ast
import configparser
from collections.abc import Mapping
from pathlib import Path

PACKAGES = ("k2", "conformance", "chaos", "load", "reports", "benchmarks", "scripts")
_RUNS_PROGRAMS = {"subprocess", "asyncio", "os"}


Sources = Mapping[str, ast.Module]
"""Syntax of modules by their path below the root."""


def read_sources(root: Path) -> Sources:
    """Every module of the packages below a root."""
    paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return {path.relative_to(root).as_posix(): ast.parse(path.read_text()) for path in paths}


def importers(sources: Sources, library: str) -> list[str]:
    """Modules that import a library."""
    return [path for path, tree in sources.items() if library in _imported(tree)]


def callers(sources: Sources, program: str) -> list[str]:
    """Modules that can start programs and name this one."""
    return [path for path, tree in sources.items() if _RUNS_PROGRAMS & _imported(tree) and program in _constants(tree)]


def tox_commands(root: Path, environments: tuple[str, ...]) -> dict[str, str]:
    """The module that each environment of tox.ini starts first; empty where there is no such environment."""
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(root / "tox.ini")
    started = {}
    for name in environments:
        words = configuration.get(f"testenv:{name}", "commands", fallback="").split()
        started[name] = words[2] if words[:2] == ["python", "-m"] else ""
    return started


def _imported(tree: ast.Module) -> set[str]:
    """The first part of the name of every module that is imported, wherever the import stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def _constants(tree: ast.Module) -> set[object]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
