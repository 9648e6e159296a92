"""Finds where code records metrics, by reading it: which metric, by which operation, with which labels.

A recording is a call of increment, set, observe or compute whose first argument is the name of a metric: a literal,
or a name bound to one in the same module. Labels are followed through literals, `{**other}`, `a | b`, local names,
attributes set in the same class, and functions of the same class or module that return or yield them.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CATALOGUE_FILE = "k2/observability/metrics.py"
# Operation -> position of its labels; those of what `compute` yields are in its source.
OPERATIONS = {"increment": 1, "set": 2, "observe": 2, "compute": None}
_METRIC_NAME = re.compile(r"(k2|iceberg|http_request)_[a-z0-9_]+")
_DEEPEST = 8
_Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeclaredMetric:
    """A metric of the catalogue. `kind` is counter, gauge or histogram; `line` is where it is declared."""

    name: str
    kind: str
    labels: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A place where a metric is recorded.

    Attributes:
        path: file, relative to the project.
        line: of the call.
        function: qualified name of the function it is in.
        metric: name.
        operation: increment, set, observe or compute.
        labels: names of its labels; None where they cannot be followed.
        values: source of each label's value, as far as it can be followed.
    """

    path: str
    line: int
    function: str
    metric: str
    operation: str
    labels: tuple[str, ...] | None
    values: _Labels


def declared_metrics(path: Path) -> tuple[DeclaredMetric, ...]:
    """The metrics of the catalogue, read from its source."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = _Module(tree, str(path))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric" and node.args:
            name, kind = names.text(node.args[0]), ast.unparse(node.args[1])
            labels = node.args[3] if len(node.args) > 3 else None
            if name is not None:
                found.append(DeclaredMetric(name, kind.lstrip("_").lower(), names.words(labels), node.lineno))
    return tuple(found)


def recordings(paths: Sequence[Path], root: Path, declared: Iterable[str]) -> tuple[Recording, ...]:
    """Every recording in files and folders, in the order of their names.

    Raises:
        OSError: a file cannot be read.
        SyntaxError: one is no Python.
    """
    known = frozenset(declared)
    found: list[Recording] = []
    for path in paths:
        place = path if path.is_absolute() else root / path
        for file in (place,) if place.is_file() else sorted(place.rglob("*.py")):
            name = str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
            if name != CATALOGUE_FILE:
                source = file.read_text(encoding="utf-8")
                # Most modules record nothing, and need not be parsed.
                if any(f"{operation}(" in source or f".{operation}" in source for operation in OPERATIONS):
                    found += _Module(ast.parse(source, str(file)), name).recordings(known)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where an expression stands: the functions around it, innermost last, and the class they belong to."""

    functions: tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...] = ()
    owner: ast.ClassDef | None = None
    name: str = ""


class _Module:
    def __init__(self, tree: ast.Module, path: str) -> None:
        self._tree = tree
        self._path = path

    def recordings(self, known: frozenset[str]) -> Iterator[Recording]:
        """Every recording in it."""
        for call, scope in self._calls(self._tree, _Scope()):
            operation = self._operation(call.func, scope)
            if operation is None or not call.args:
                continue
            metric = self.text(call.args[0])
            is_metrics = "metric" in ast.unparse(call.func).lower() or isinstance(call.func, ast.Name)
            if metric is None or not (metric in known or is_metrics or _METRIC_NAME.fullmatch(metric)):
                continue
            labels = self._recorded_labels(call, operation, scope)
            names = None if labels is None else tuple(labels)
            yield Recording(self._path, call.lineno, scope.name, metric, operation, names, labels or {})

    def text(self, node: ast.expr) -> str | None:
        """A literal text, or one that a name of the module is bound to."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            bound = _assigned(self._tree.body, node.id)
            return self.text(bound[0]) if len(bound) == 1 and not isinstance(bound[0], ast.Name) else None
        return None

    def words(self, node: ast.expr | None) -> tuple[str, ...]:
        """The texts of a tuple, with those of `*OTHER` in it."""
        if isinstance(node, ast.Name):
            bound = _assigned(self._tree.body, node.id)
            return self.words(bound[0]) if bound else ()
        if not isinstance(node, ast.Tuple):
            return ()
        found: list[str] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                found += self.words(element.value)
            elif (text := self.text(element)) is not None:
                found.append(text)
        return tuple(found)

    def _calls(self, node: ast.AST, scope: _Scope) -> Iterator[tuple[ast.Call, _Scope]]:
        for child in ast.iter_child_nodes(node):
            inner = scope
            if isinstance(child, ast.ClassDef):
                inner = _Scope(scope.functions, child, f"{scope.name}.{child.name}".lstrip("."))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{scope.name}.{child.name}".lstrip(".")
                inner = _Scope((*scope.functions, child), scope.owner, name)
            elif isinstance(child, ast.Call):
                yield child, scope
            yield from self._calls(child, inner)

    def _operation(self, function: ast.expr, scope: _Scope) -> str | None:
        if isinstance(function, ast.Attribute):
            return function.attr if function.attr in OPERATIONS else None
        if isinstance(function, ast.Name):
            # `count = self._metrics.increment`
            for outer in reversed(scope.functions):
                for bound in _assigned(outer.body, function.id):
                    if isinstance(bound, ast.Attribute) and bound.attr in OPERATIONS:
                        return bound.attr
        return None

    def _recorded_labels(self, call: ast.Call, operation: str, scope: _Scope) -> _Labels | None:
        if operation == "compute":
            return self._yielded(call.args[1], scope) if len(call.args) > 1 else None
        position = OPERATIONS[operation]
        assert position is not None
        keyword = next((word.value for word in call.keywords if word.arg == "labels"), None)
        given = keyword if keyword is not None else (call.args[position] if len(call.args) > position else None)
        return {} if given is None else self._labels(given, scope)

    def _labels(self, node: ast.expr, scope: _Scope, depth: int = 0) -> _Labels | None:
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Constant) and node.value is None:
            return {}
        if isinstance(node, ast.Dict):
            return self._literal(node, scope, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            sides = [self._labels(side, scope, depth + 1) for side in (node.left, node.right)]
            return None if None in sides else {**(sides[0] or {}), **(sides[1] or {})}
        if isinstance(node, ast.Call):
            return self._agreed(self._returned(node.func, scope), scope, depth)
        return self._agreed(self._bound(node, scope), scope, depth)

    def _literal(self, node: ast.Dict, scope: _Scope, depth: int) -> _Labels | None:
        found: dict[str, str] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                inner = self._labels(value, scope, depth + 1)
                if inner is None:
                    return None
                found |= inner
            elif (name := self.text(key)) is not None:
                found[name] = ast.unparse(value)
            else:
                return None
        return found

    def _agreed(self, nodes: Sequence[ast.expr], scope: _Scope, depth: int) -> _Labels | None:
        """The labels of expressions of which any may be meant, if all have the same."""
        found = [self._labels(node, scope, depth + 1) for node in nodes]
        if not found or any(labels is None or set(labels) != set(found[0] or {}) for labels in found):
            return None
        return found[0]

    def _bound(self, node: ast.expr, scope: _Scope) -> list[ast.expr]:
        """What a name or an attribute of self is bound to."""
        if isinstance(node, ast.Name):
            for outer in reversed(scope.functions):
                if bound := _assigned(outer.body, node.id):
                    return bound
            return _assigned(self._tree.body, node.id)
        if isinstance(node, ast.Attribute) and _is_self(node.value) and scope.owner is not None:
            return _assigned(scope.owner.body, node.attr, of_self=True)
        return []

    def _function(self, node: ast.expr, scope: _Scope) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        if isinstance(node, ast.Attribute) and _is_self(node.value) and scope.owner is not None:
            return _defined(scope.owner.body, node.attr)
        if isinstance(node, ast.Name):
            bodies = [*(outer.body for outer in reversed(scope.functions)), self._tree.body]
            return next((found for body in bodies if (found := _defined(body, node.id))), None)
        return None

    def _returned(self, function: ast.expr, scope: _Scope) -> list[ast.expr]:
        found = self._function(function, scope)
        nodes = ast.walk(found) if found is not None else ()
        return [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None]

    def _yielded(self, source: ast.expr, scope: _Scope) -> _Labels | None:
        """Labels of the samples a source gives: of `yield labels, value` in a function it is or calls."""
        if isinstance(source, ast.Lambda):
            return self._yielded(source.body.func, scope) if isinstance(source.body, ast.Call) else None
        function = self._function(source, scope)
        if function is None:
            return None
        samples = [node.value for node in ast.walk(function) if isinstance(node, ast.Yield)]
        labels = [sample.elts[0] for sample in samples if isinstance(sample, ast.Tuple) and len(sample.elts) == 2]
        inner = _Scope((*scope.functions, function), scope.owner, scope.name)
        return self._agreed(labels, inner, 0) if len(labels) == len(samples) else None


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _defined(body: Iterable[ast.stmt], name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    return None


def _assigned(body: Iterable[ast.stmt], name: str, *, of_self: bool = False) -> list[ast.expr]:
    """Everything a name, or an attribute of self, is set to within statements, nested ones included."""
    found: list[ast.expr] = []
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found += _matched(target, node.value, name, of_self)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                found += _matched(node.target, node.value, name, of_self)
    return found


def _matched(target: ast.expr, value: ast.expr, name: str, of_self: bool) -> list[ast.expr]:
    if isinstance(target, ast.Tuple):
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            pairs = zip(target.elts, value.elts, strict=True)
            return [found for one, other in pairs for found in _matched(one, other, name, of_self)]
        return []
    if of_self:
        return [value] if isinstance(target, ast.Attribute) and _is_self(target.value) and target.attr == name else []
    return [value] if isinstance(target, ast.Name) and target.id == name else []
