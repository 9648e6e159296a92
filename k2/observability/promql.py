"""What a PromQL expression asks for: its metrics with their labels, ranges and functions, and the labels of its answer.

Reads names and labels, and refuses what is not made of PromQL's signs or leaves a bracket open. The rest of the grammar
is for promtool to judge. An aggregation's labels are asked of every metric inside its own parentheses.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

COUNTER_FUNCTIONS = frozenset(("rate", "increase", "irate", "resets"))
_AGGREGATIONS_TEXT = """
    sum avg min max count group stddev stdvar topk bottomk quantile count_values limitk limit_ratio
"""
_MODIFIERS_TEXT = """
    by without on ignoring group_left group_right and or unless offset bool atan2 inf nan start end
"""
_AGGREGATIONS = frozenset(_AGGREGATIONS_TEXT.split())
_MODIFIERS = frozenset(_MODIFIERS_TEXT.split())
_OF_AGGREGATIONS = frozenset(("by", "without"))
_GROUPINGS = _OF_AGGREGATIONS | {"on", "ignoring", "group_left", "group_right"}
_CLOSING_OF = {"(": ")", "{": "}"}
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<range>\[[^\]]*\])
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<number>\$\w+|[0-9][\w.]*|\.[0-9]+)
    |(?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^=<>(){},@])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric as an expression names it.

    Attributes:
        metric: its name.
        matchers: labels in its braces.
        labels: these, and those of the aggregations around it.
        range: the range after it as it is written, such as "[5m]", or "".
        function: the function it is directly handed to, "rate"; empty if to none.
        is_aggregated: an aggregation is somewhere around it.
    """

    metric: str
    matchers: frozenset[str]
    labels: frozenset[str]
    range: str
    function: str
    is_aggregated: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression is made of.

    Attributes:
        selectors: the metrics, in order.
        grouped_by: labels that `by` and `on` name, in order.
        result_labels: labels its answer has, where aggregations say them; None where nothing is aggregated. Of an
            aggregation inside another nothing is left, and histogram_quantile uses `le` up.
        divides: there is a division in it.
    """

    selectors: tuple[Selector, ...]
    grouped_by: tuple[str, ...]
    result_labels: frozenset[str] | None
    divides: bool


def read_expression(text: str) -> Expression:
    """Take an expression apart.

    Raises:
        ValueError: it is not made of PromQL's signs, or a bracket is not closed.
    """
    tokens = _Tokens(_tokens(text))
    return Expression(
        tuple(tokens.selectors()), tuple(tokens.grouped_by()), tokens.result_labels(), tokens.has("operator", "/")
    )


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position : position + 20]!r} is no PromQL")
        position = match.end()
        if match.lastgroup is not None:
            yield _Token(match.lastgroup, match[match.lastgroup])


@dataclass(frozen=True, slots=True)
class _Call:
    """A function or an aggregation: the places of its parentheses, and the labels an aggregation keeps."""

    name: str
    begin: int
    end: int
    kept: frozenset[str]

    @property
    def is_aggregation(self) -> bool:
        return self.name in _AGGREGATIONS


class _Tokens:
    """An expression's tokens, with every bracket's partner found; ValueError where one has none."""

    def __init__(self, tokens: Iterable[_Token]) -> None:
        self._tokens = tuple(tokens)
        self._partner = self._partners()

    @cached_property
    def calls(self) -> tuple[_Call, ...]:
        """Functions and aggregations, outer ones before inner ones."""
        return tuple(self._calls())

    def selectors(self) -> Iterator[Selector]:
        for index, token in enumerate(self._tokens):
            if not self._is_metric(index):
                continue
            matchers, after = frozenset[str](), index + 1
            if self._text(after) == "{":
                end = self._partner[after]
                matchers, after = frozenset(self._names(after, end)), end + 1
            around = [call for call in self.calls if call.begin < index < call.end]
            yield Selector(
                metric=token.text,
                matchers=matchers,
                labels=matchers.union(*(call.kept for call in around)),
                range=self._text(after) if self._kind(after) == "range" else "",
                function=self._function_around(index, around),
                is_aggregated=any(call.is_aggregation for call in around),
            )

    def grouped_by(self) -> Iterator[str]:
        for index in range(len(self._tokens)):
            if self._word(index) in ("by", "on") and self._text(index + 1) == "(":
                yield from self._names(index + 1, self._partner[index + 1])

    def result_labels(self) -> frozenset[str] | None:
        aggregations = [call for call in self.calls if call.is_aggregation]
        if not aggregations:
            return None
        outermost = [
            call for call in aggregations if not any(other.begin < call.begin < other.end for other in aggregations)
        ]
        used_up = {"le"} if self.has("name", "histogram_quantile") else set[str]()
        return frozenset[str]().union(*(call.kept for call in outermost)) - used_up

    def has(self, kind: str, text: str) -> bool:
        return _Token(kind, text) in self._tokens

    def _partners(self) -> dict[int, int]:
        partners: dict[int, int] = {}
        opened: list[int] = []
        for index, token in enumerate(self._tokens):
            if token.text in _CLOSING_OF:
                opened.append(index)
            elif token.text in _CLOSING_OF.values():
                if not opened or _CLOSING_OF[self._tokens[opened[-1]].text] != token.text:
                    raise ValueError(f"{token.text!r} closes nothing")
                begin = opened.pop()
                partners |= {begin: index, index: begin}
        if opened:
            raise ValueError(f"{self._tokens[opened[-1]].text!r} is not closed")
        return partners

    def _calls(self) -> Iterator[_Call]:
        for index, token in enumerate(self._tokens):
            if token.kind != "name" or self._is_modifier(index):
                continue
            labels, begin = self._grouping(index + 1)
            if self._text(begin) != "(":
                continue
            end = self._partner[begin]
            # sum(x) by (a) is sum by (a) (x).
            if labels is None:
                labels, _ = self._grouping(end + 1)
            yield _Call(token.text.lower(), begin, end, labels or frozenset())

    def _grouping(self, index: int) -> tuple[frozenset[str] | None, int]:
        """Labels of a `by (...)` or `without (...)` that begins here, None if none does, and the place after it."""
        word = self._word(index)
        if word not in _OF_AGGREGATIONS or self._text(index + 1) != "(":
            return None, index
        end = self._partner[index + 1]
        return (frozenset(self._names(index + 1, end)) if word == "by" else frozenset()), end + 1

    def _is_metric(self, index: int) -> bool:
        if self._kind(index) != "name" or self._is_modifier(index) or self._is_label(index):
            return False
        # A function's parenthesis follows its name, an aggregation's perhaps its labels.
        _, after = self._grouping(index + 1)
        return self._text(after) != "("

    def _is_modifier(self, index: int) -> bool:
        return self._word(index) in _MODIFIERS

    def _is_label(self, index: int) -> bool:
        """Whether a name stands in braces, or in the list of a grouping."""
        return any(
            begin < index < end and (self._text(begin) == "{" or self._word(begin - 1) in _GROUPINGS)
            for begin, end in self._partner.items()
        )

    def _function_around(self, index: int, around: list[_Call]) -> str:
        """The call whose parentheses are the nearest ones around a place."""
        nearest = max((begin for begin, end in self._partner.items() if begin < index < end), default=-1)
        return next((call.name for call in around if call.begin == nearest), "")

    def _names(self, begin: int, end: int) -> Iterator[str]:
        return (token.text for token in self._tokens[begin:end] if token.kind == "name")

    def _word(self, index: int) -> str:
        return self._text(index).lower() if self._kind(index) == "name" else ""

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""

    def _kind(self, index: int) -> str:
        return self._tokens[index].kind if 0 <= index < len(self._tokens) else ""
