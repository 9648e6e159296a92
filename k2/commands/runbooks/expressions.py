"""The metrics of a PromQL expression, each with the labels it is asked for.

This reads names and labels and judges no grammar: promtool does that. An aggregation's labels are asked of every
metric inside its own parentheses.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_AGGREGATIONS_TEXT = """
    sum avg min max count group stddev stdvar topk bottomk quantile count_values limitk limit_ratio
"""
_MODIFIERS_TEXT = """
    by without on ignoring group_left group_right and or unless offset bool atan2 inf nan start end
"""
AGGREGATIONS = frozenset(_AGGREGATIONS_TEXT.split())
_MODIFIERS = frozenset(_MODIFIERS_TEXT.split())
_GROUPINGS = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
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
    """

    metric: str
    matchers: frozenset[str]
    labels: frozenset[str]
    range: str


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def selectors(expression: str) -> list[Selector]:
    """Every metric the expression names, in order.

    Raises:
        ValueError: it is not made of PromQL's signs, or a bracket is not closed.
    """
    tokens = list(_tokens(expression))
    groups = _aggregations(tokens)
    found = []
    for index, token in enumerate(tokens):
        if not _is_metric(tokens, index):
            continue
        matchers, after = _matchers(tokens, index + 1)
        around = (names for names, begin, end in groups if begin < index < end)
        labels = matchers.union(*around)
        following = tokens[after] if after < len(tokens) else None
        text = following.text if following is not None and following.kind == "range" else ""
        found.append(Selector(token.text, matchers, labels, text))
    return found


def result_labels(expression: str) -> frozenset[str] | None:
    """The labels its answer has, where aggregations say them; None where nothing is aggregated.

    Of an aggregation inside another nothing is left, and histogram_quantile uses `le` up.

    Raises:
        ValueError: as of `selectors`.
    """
    tokens = list(_tokens(expression))
    groups = _aggregations(tokens)
    if not groups:
        return None
    outermost = [
        names
        for names, begin, _ in groups
        if not any(first < begin < last for _, first, last in groups if first != begin)
    ]
    used_up = {"le"} if any(token.text == "histogram_quantile" for token in tokens) else set()
    return frozenset(name for names in outermost for name in names) - used_up


def _tokens(expression: str) -> Iterator[_Token]:
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise ValueError(f"{expression[position : position + 20]!r} is no PromQL")
        position = match.end()
        if match.lastgroup is not None:
            yield _Token(match.lastgroup, match[match.lastgroup])


def _is_metric(tokens: Sequence[_Token], index: int) -> bool:
    token = tokens[index]
    if token.kind != "name" or token.text.lower() in _MODIFIERS:
        return False
    following = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if following == "(" or (token.text in AGGREGATIONS and following in {"by", "without"}):
        return False
    return not _inside_labels(tokens, index)


def _inside_labels(tokens: Sequence[_Token], index: int) -> bool:
    """Whether the token stands in braces, or in the list of a grouping."""
    depth = 0
    for place in range(index - 1, -1, -1):
        text = tokens[place].text
        if text == "{":
            return True
        if text == "}":
            return False
        depth += (text == ")") - (text == "(")
        if depth < 0:
            return place > 0 and tokens[place - 1].text.lower() in _GROUPINGS
    return False


def _matchers(tokens: Sequence[_Token], index: int) -> tuple[frozenset[str], int]:
    """Labels in the braces that begin here, if any do, and the place after them."""
    if index >= len(tokens) or tokens[index].text != "{":
        return frozenset(), index
    end = _closing(tokens, index)
    return frozenset(token.text for token in tokens[index:end] if token.kind == "name"), end + 1


def _aggregations(tokens: Sequence[_Token]) -> list[tuple[frozenset[str], int, int]]:
    """Labels an aggregation keeps, and the parentheses it is of."""
    found = []
    for index, token in enumerate(tokens):
        if token.kind != "name" or token.text not in AGGREGATIONS or _inside_labels(tokens, index):
            continue
        names, place = _grouping(tokens, index + 1)
        if place >= len(tokens) or tokens[place].text != "(":
            continue
        end = _closing(tokens, place)
        if names is None:
            names, _ = _grouping(tokens, end + 1)
        found.append((names or frozenset(), place, end))
    return found


def _grouping(tokens: Sequence[_Token], index: int) -> tuple[frozenset[str] | None, int]:
    if index + 1 >= len(tokens) or tokens[index].text.lower() not in {"by", "without"}:
        return None, index
    end = _closing(tokens, index + 1)
    names = frozenset(token.text for token in tokens[index + 2 : end] if token.kind == "name")
    return (names if tokens[index].text.lower() == "by" else frozenset()), end + 1


def _closing(tokens: Sequence[_Token], index: int) -> int:
    depth = 0
    for place in range(index, len(tokens)):
        depth += (tokens[place].text in {"(", "{"}) - (tokens[place].text in {")", "}"})
        if depth == 0:
            return place
    raise ValueError(f"{tokens[index].text!r} is not closed")
