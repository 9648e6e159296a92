"""The production alerts in a hurry: everything that lasts is divided by one factor, and nothing else changes.

Divided are, in the rules: windows, their steps, offsets, `for` and the groups' intervals; numbers that a count over a
window is compared with (`increase`, `changes`), for a window so much shorter holds so much less of the same trouble;
and numbers that are a time gone by (`time() - x < 300`, a table's silence), for "no row for 300 s" is a window written
as a number. In Prometheus: how often it asks and evaluates, how far a query looks back for a sample, how soon it tells
Alertmanager again. In Alertmanager: its waits.

Not divided is what has a size and no duration: shares, messages, messages a second, and how long a request or a query
takes, which is what a user feels.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PRODUCTION_LOOKBACK = "5m"
PRODUCTION_RESEND_DELAY = "1m"
"""Prometheus's own defaults, which deploy/compose.yaml states."""

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_PARTS = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_WINDOW = re.compile(rf"\[({_DURATION})(?::{_DURATION})?\](?:\s*offset\s+({_DURATION}))?")
_TIMES_GONE_BY = re.compile(
    r"time\s*\(\s*\)\s*-|\bk2_table_(?:silence|compaction_age)_seconds\b|\bk2_table_freshness_seconds\b"
)
"""What grows by a second in every second as long as something does not happen."""
_COUNTS_OVER_A_WINDOW = re.compile(r"\b(?:increase|changes)\s*\(")
_TOKEN = re.compile(
    rf"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<range>\[[^\]]*\])
    |(?P<offset>\boffset\s+{_DURATION})
    |(?P<joint>\b(?:and|or|unless)\b)
    |(?P<compared>(?:[<>]=?|[!=]=(?!~))\s*(?P<number>[0-9]+(?:\.[0-9]+)?))
    |(?P<open>\()|(?P<close>\))
    |(?P<other>[\w:]+|\s+|.)""",
    re.VERBOSE | re.DOTALL,
)
_OF_ROUTES = ("group_wait", "group_interval", "repeat_interval")


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Makes scaled copies of documents.

    Attributes:
        factor: everything that lasts is so many times shorter.
    """

    factor: int

    def duration(self, text: str) -> str:
        """A duration of Prometheus, "5m": in whole seconds where it can be, else in milliseconds.

        Raises:
            ValueError: it is none.
        """
        milliseconds = round(duration_ms(text) / self.factor)
        return f"{milliseconds // 1_000}s" if milliseconds % 1_000 == 0 else f"{milliseconds}ms"

    def seconds(self, text: str) -> float:
        """How long a duration of production lasts here."""
        return duration_ms(text) / 1_000 / self.factor

    def expression(self, text: str) -> str:
        """A PromQL expression."""
        return "".join(self._pieces(text))

    def rules(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A file of rules."""
        return {**document, "groups": [self._group(group) for group in document["groups"]]}

    def prometheus(self, document: Mapping[str, Any], production: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of a run's Prometheus with production's intervals, scaled.

        A process may take as long for its metrics as there is until it is asked again: how long it takes does not
        shrink with the intervals.

        Args:
            document: the run's, whose targets and receivers stay.
            production: deploy/prometheus/prometheus.yml.
        """
        intervals = production["global"]
        asked_every = self.duration(intervals["scrape_interval"])
        scaled = {
            "scrape_interval": asked_every,
            "scrape_timeout": asked_every,
            "evaluation_interval": self.duration(intervals["evaluation_interval"]),
        }
        return {**document, "global": {**document["global"], **scaled}}

    def alertmanager(self, production: Mapping[str, Any], receiver_address: str) -> dict[str, Any]:
        """Production's configuration with its waits scaled, told to another address at any hour.

        Args:
            production: deploy/alertmanager/alertmanager.yml.
            receiver_address: "host:port" in place of production's.
        """
        return {
            **production,
            "route": self._route(production["route"]),
            "receivers": [_told_at(receiver, receiver_address) for receiver in production["receivers"]],
            # A run has no business hours; what is told within them would be told to nobody at night.
            "time_intervals": [{**one, "time_intervals": [_ALWAYS]} for one in production["time_intervals"]],
        }

    def _group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **group,
            "interval": self.duration(group["interval"]),
            "rules": [self._rule(rule) for rule in group["rules"]],
        }

    def _rule(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        durations = {name: self.duration(rule[name]) for name in ("for", "keep_firing_for") if name in rule}
        return {**rule, "expr": self.expression(rule["expr"]), **durations}

    def _route(self, route: Mapping[str, Any]) -> dict[str, Any]:
        scaled = {name: self.duration(route[name]) for name in _OF_ROUTES if name in route}
        inner = {"routes": [self._route(one) for one in route["routes"]]} if "routes" in route else {}
        return {**route, **scaled, **inner}

    def _pieces(self, text: str) -> Iterator[str]:
        # What stands to the left of a comparison, at each depth of parentheses.
        left = [""]
        for match in _TOKEN.finditer(text):
            piece, kind = match.group(), match.lastgroup
            if kind == "range":
                piece = f"[{':'.join(map(self.duration, piece[1:-1].split(':')))}]"
            elif kind == "offset":
                word, duration = piece.split()
                piece = f"{word} {self.duration(duration)}"
            elif match["compared"] and _is_of_time(left[-1]):
                piece = piece.removesuffix(match["number"]) + _divided(match["number"], self.factor)
            if kind == "open":
                left.append("")
            elif kind == "close":
                inner = left.pop()
                left[-1] += f"({inner})"
            elif kind == "joint":
                left[-1] = ""
            else:
                left[-1] += piece
            yield piece


_ALWAYS = {"times": [{"start_time": "00:00", "end_time": "24:00"}]}


def duration_ms(text: str) -> int:
    """Milliseconds of a duration of Prometheus, "1h30m".

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(_DURATION, text):
        raise ValueError(f"{text!r} is no duration")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PARTS.findall(text))


def longest_window_ms(expression: str) -> int:
    """How far an expression looks back: its longest window with the offset of that window; 0 if it has none."""
    found = _WINDOW.findall(expression)
    return max((duration_ms(window) + (duration_ms(offset) if offset else 0) for window, offset in found), default=0)


def _is_of_time(left: str) -> bool:
    return bool(_TIMES_GONE_BY.search(left) or _COUNTS_OVER_A_WINDOW.search(left))


def _divided(number: str, factor: int) -> str:
    return f"{float(number) / factor:.6g}"


def _told_at(receiver: Mapping[str, Any], address: str) -> dict[str, Any]:
    hooks = [{**hook, "url": _at(hook["url"], address)} for hook in receiver["webhook_configs"]]
    return {**receiver, "webhook_configs": hooks}


def _at(url: str, address: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{address}/{rest.partition('/')[2]}"
