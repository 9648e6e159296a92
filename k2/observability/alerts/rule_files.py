"""Reads Prometheus rule files, each rule with its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from k2.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        path: its file.
        line: where it begins, from 1.
        group: name of its group.
        interval: how often the group is evaluated, "30s"; empty if the file does not say.
        alert: name of the alert, empty for a recording rule.
        record: name of what is recorded, empty for an alert.
        expression: PromQL.
        expression_line: where that stands.
        hold: how long it must hold, "5m"; empty if the file does not say.
        labels: added to the alert.
        annotations: what people are told.
    """

    path: Path
    line: int
    group: str
    interval: str
    alert: str
    record: str
    expression: str
    expression_line: int
    hold: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the alert, or of what is recorded."""
        return self.alert or self.record


class RuleFileError(UsageError):
    """A file is no rule file.

    Attributes:
        path: the file.
        line: where, from 1.
        problem: what is wrong there.
    """

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


def rule_paths(path: Path) -> tuple[Path, ...]:
    """The rule files of a folder (*.yml, *.yaml), or the file itself.

    Raises:
        UsageError: there is none.
    """
    if path.is_file():
        return (path,)
    found = tuple(sorted(file for file in path.glob("*.y*ml") if file.suffix in (".yml", ".yaml")))
    if not found:
        raise UsageError(f"{path} holds no rule files: name a folder of *.yml files, such as deploy/prometheus/rules")
    return found


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Every rule of a file, in order.

    Raises:
        RuleFileError: it is no rule file.
        UsageError: it cannot be read.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RuleFileError(path, line, f"no YAML: {error.problem}") from error
    return tuple(_Document(path).rules(root))


class _Document:
    """Takes a file's nodes apart; a node knows its line, a plain value would not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rules(self, root: yaml.Node | None) -> Iterator[Rule]:
        groups = self._fields(root, 1, "a rule file").get("groups")
        if groups is None:
            raise RuleFileError(self._path, 1, "a rule file begins with `groups:`")
        for group in self._items(groups, "groups"):
            fields = self._fields(group, _line(group), "a group")
            for node in self._items(fields.get("rules"), "rules") if "rules" in fields else ():
                yield self._rule(node, self._text(fields.get("name")), self._text(fields.get("interval")))

    def _rule(self, node: yaml.Node, group: str, interval: str) -> Rule:
        fields = self._fields(node, _line(node), "a rule")
        alert, record = self._text(fields.get("alert")), self._text(fields.get("record"))
        if bool(alert) == bool(record):
            raise RuleFileError(self._path, _line(node), "a rule has either `alert:` or `record:`")
        if "expr" not in fields:
            raise RuleFileError(self._path, _line(node), f"{alert or record} has no `expr:`")
        return Rule(
            path=self._path,
            line=_line(node),
            group=group,
            interval=interval,
            alert=alert,
            record=record,
            expression=self._text(fields["expr"]),
            expression_line=_line(fields["expr"]),
            hold=self._text(fields.get("for")),
            labels=self._texts(fields.get("labels"), "labels"),
            annotations=self._texts(fields.get("annotations"), "annotations"),
        )

    def _fields(self, node: yaml.Node | None, line: int, what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise RuleFileError(self._path, line, f"{what} must be a mapping")
        return {str(key.value): value for key, value in node.value}

    def _items(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise RuleFileError(self._path, _line(node) if node else 1, f"{what} must be a list")
        return list(node.value)

    def _texts(self, node: yaml.Node | None, what: str) -> dict[str, str]:
        if node is None:
            return {}
        return {name: self._text(value) for name, value in self._fields(node, _line(node), what).items()}

    def _text(self, node: yaml.Node | None) -> str:
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode):
            raise RuleFileError(self._path, _line(node), "text is expected here")
        return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
