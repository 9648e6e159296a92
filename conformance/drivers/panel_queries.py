"""The dashboards of this checkout, and what their queries are held against: promtool, and every series there is."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.promtool import Promtool, Tool
from k2.commands.runbooks.deployment import RULES, series_labels
from k2.observability.alerts.rule_files import read_rules, rule_paths

DASHBOARDS = Path("deploy") / "grafana" / "dashboards"
_RULE_PROBLEM = re.compile(r'rule (\d+), "[^"]*": (.*)')
_RULES_FILE = Path("queries.yml")


def load_dashboards(root: Path) -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name without ending."""
    paths = sorted((root / DASHBOARDS).glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def known_series(root: Path) -> Mapping[str, frozenset[str]]:
    """Labels of every series by name."""
    return series_labels(rule for path in rule_paths(root / RULES) for rule in read_rules(path))


def promtool_syntax(tool: Tool) -> Callable[[Sequence[str]], list[str | None]]:
    """A judge of expressions: what promtool says of each, None of one that parses."""

    def judge(expressions: Sequence[str]) -> list[str | None]:
        problems: list[str | None] = [None] * len(expressions)
        rules = [{"record": f"query:number:{number}", "expr": text} for number, text in enumerate(expressions)]
        with tempfile.TemporaryDirectory() as folder:
            # JSON is YAML, so nothing needs to be quoted by hand.
            groups = {"groups": [{"name": "queries", "rules": rules}]}
            (Path(folder) / _RULES_FILE).write_text(json.dumps(groups))
            found = Promtool(tool).check_rules([_RULES_FILE], Path(folder))
        for problem in found:
            match = _RULE_PROBLEM.search(problem.text)
            number, text = (int(match[1]) - 1, match[2]) if match else (0, problem.text)
            problems[number] = text
        return problems

    return judge
