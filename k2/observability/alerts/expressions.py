"""What a PromQL expression asks for: its metrics with their matchers, the labels it groups by, what it takes rates of.

Whether it is PromQL at all is for promtool to say; here it is only taken apart.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"""|(?P<range>\[[^\]]*\])"""
    r"""|(?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<operator>=~|!~|!=|==|<=|>=|.)""",
    re.DOTALL,
)
_LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_KEYWORDS = _LABEL_LISTS | {"and", "or", "unless", "offset", "bool", "inf", "nan", "atan2"}
COUNTER_FUNCTIONS = frozenset({"rate", "increase", "irate", "resets"})


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric in an expression.

    Attributes:
        metric: its name.
        matched: labels its matchers name.
        function: the function it is directly handed to, "rate"; empty if to none.
        is_aggregated: an aggregation is somewhere around it.
    """

    metric: str
    matched: tuple[str, ...]
    function: str
    is_aggregated: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression is made of.

    Attributes:
        selectors: the metrics, in order.
        grouped_by: labels named by `by` and `on`.
        divides: there is a division in it.
        thresholds: numbers behind a comparison, as they are written.
    """

    selectors: tuple[Selector, ...]
    grouped_by: tuple[str, ...]
    divides: bool
    thresholds: tuple[str, ...]


_AGGREGATIONS = {"sum", "min", "max", "avg", "count", "stddev", "stdvar", "topk", "bottomk", "quantile", "group"}
_COMPARISONS = {">", "<", ">=", "<=", "==", "!="}


def take_apart(text: str) -> Expression:
    """The parts of an expression; of text that is no PromQL whatever can be recognised."""
    tokens = [
        (str(match.lastgroup), match.group())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "comment" and not match.group().isspace()
    ]
    return _Reading(tokens).expression()


class _Reading:
    """One pass over the tokens; `around` holds the name before each parenthesis that is still open."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._around: list[str] = []

    def expression(self) -> Expression:
        selectors: list[Selector] = []
        grouped_by: list[str] = []
        thresholds: list[str] = []
        divides = False
        before = ""
        while self._at < len(self._tokens):
            kind, text = self._next()
            if kind == "name" and text in _LABEL_LISTS:
                labels = tuple(self._list("(", ")"))
                grouped_by += labels if text in ("by", "on") else ()
                # `sum by (job) (...)`: what follows the list belongs to the aggregation.
                text = before
            elif kind == "name" and text not in _KEYWORDS and self._peek() != "(" and not self._is_aggregation(text):
                selectors.append(self._selector(text))
            elif text == "(":
                self._around.append(before if before.isidentifier() and before not in _KEYWORDS else "")
            elif text == ")" and self._around:
                self._around.pop()
            elif text == "/":
                divides = True
            elif text in _COMPARISONS and self._peek_kind() == "number":
                thresholds.append(self._next()[1])
            before = text
        return Expression(tuple(selectors), tuple(grouped_by), divides, tuple(thresholds))

    def _is_aggregation(self, text: str) -> bool:
        return text in _AGGREGATIONS and self._peek() in _LABEL_LISTS

    def _selector(self, metric: str) -> Selector:
        matched = tuple(self._list("{", "}"))
        function = self._around[-1] if self._around else ""
        return Selector(metric, matched, function, any(name in _AGGREGATIONS for name in self._around))

    def _list(self, opening: str, closing: str) -> Iterator[str]:
        """The names within brackets that come next, if they do; of `name="value"` the name."""
        if self._peek() != opening:
            return
        self._next()
        while self._at < len(self._tokens):
            kind, text = self._next()
            if text == closing:
                return
            if kind == "name":
                yield text

    def _next(self) -> tuple[str, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _peek_kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""
