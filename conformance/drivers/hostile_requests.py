"""Requests with hostile text in every place that takes a value: each parameter, field, header and path of the API.

Every request asks for something that no table holds, so that any row in an answer is one too many. Files that cannot
hold a symbol are not even opened, so each hostile symbol lies between two that the tables hold: it comes as far as SQL.
"""

import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.drivers.http import parsed

ABSENT = "NO-SUCH-THING"
LOWEST_SYMBOL, HIGHEST_SYMBOL = "AAA", "ZZZ"
BULK = "/v1/trades/query"
SHOWN_CHARACTERS = 80
KNOWN_ATTACKS = (
    "' OR 1=1 --", "' OR '1'='1", "'; DROP TABLE market_data.trades_v2; --", "\" OR \"\"=\"", "') OR ('a'='a",
    "1; ATTACH '/etc/passwd' AS x", "1 UNION SELECT * FROM duckdb_settings()", "*/ OR 1=1 /*", "-- ", "/*", "$$", "$1",
    "?", "%", "_", "%%", "BTC%", "{}", "{0}", "${jndi:ldap://x}", "../../etc/passwd", "..\\..\\x", "\x00",
    "BTC\x00USDT", "\r\nX-Injected: 1", "\u202e", "\ufeff", "\uff22\uff34\uff23", "İ", "ß", "\U0001f4a9", "NaN",
    "Infinity", "-0", "1e999", "0x10", "00", "null", "None", "true", "[]", "read_parquet('/etc/passwd')",
    "'" * 10_000, "a" * 10_000, "\u00e9" * 3_300,
)  # fmt: skip
_QUOTING = st.text(alphabet="'\"`;-/*\\%_()=, \t\n\x00", min_size=1, max_size=40)
_ANY_TEXT = st.text(min_size=1, max_size=300)
_LONG = st.integers(1_000, 10_000).map(lambda length: "'x\x01" * (length // 3))
HOSTILE_TEXT = st.one_of(_QUOTING, _ANY_TEXT, st.sampled_from(KNOWN_ATTACKS), _LONG)


@dataclass(frozen=True, slots=True)
class Place:
    """Where text can be put.

    Attributes:
        where: query, body, header, path or name (of a query parameter).
        path: the endpoint.
        parameter: its name.
        others: what is asked for beside it.
    """

    where: str
    path: str
    parameter: str
    others: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people and plans."""
        return f"{self.where} {self.path} {self.parameter}"


def places(document: Mapping[str, Any]) -> Iterator[Place]:
    """Every place of an OpenAPI document."""
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            yield Place("query", path, parameter["name"], _others(document, path, parameter["name"]))
        if "get" in operations:
            yield Place("header", path, "X-Request-Id", _others(document, path, ""))
            yield Place("name", path, "any", _others(document, path, ""))
    for field in (*document["components"]["schemas"]["BulkQuery"]["properties"], "any"):
        yield Place("body", BULK, field, {"symbol": ABSENT} if field != "symbol" else {})
    yield Place("body", BULK, "snapshot_id", {"symbol": ABSENT})
    yield Place("path", "/v1/", "any", {})


def attack(address: str, place: Place, examples: int, number: int) -> Iterator[dict[str, Any]]:
    """Put hostile texts into a place; yields what each request was and what came of it."""
    outcomes: list[dict[str, Any]] = []
    parts = urllib.parse.urlparse(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(HOSTILE_TEXT)
    def put(text: str) -> None:
        # Between the two, whatever follows.
        between = "M" if place.parameter == "symbol" else ""
        outcomes.append(_ask(connection, place, between + text))

    put()
    connection.close()
    yield from outcomes


def _others(document: Mapping[str, Any], path: str, besides: str) -> dict[str, Any]:
    """What makes a request one for nothing, without the parameter that is attacked."""
    names = {parameter["name"] for parameter in document["paths"][path]["get"].get("parameters", ())}
    others: dict[str, Any] = {"symbol": ABSENT, "exchange": ABSENT, "data_type": "trades"}
    chosen = {name: value for name, value in others.items() if name in names and name != besides}
    # The attacked value alone must be what excludes everything.
    if besides in ("symbol", "exchange"):
        chosen.pop("exchange" if besides == "symbol" else "symbol", None)
    return chosen


def _ask(connection: http.client.HTTPConnection, place: Place, text: str) -> dict[str, Any]:
    method, target, headers, body = _request(place, text)
    outcome: dict[str, Any] = {"place": place.name, "text": text[:SHOWN_CHARACTERS], "status": None, "rows": 0}
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        document = parsed(answer.read())
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return {**outcome, "error": f"{type(error).__name__}: {error}"}
    error_code = document.get("error", {}).get("code") if isinstance(document, dict) else None
    return {**outcome, "status": answer.status, "rows": _rows(document, place), "error_code": error_code}


def _request(place: Place, text: str) -> tuple[str, str, dict[str, str], bytes | None]:
    if place.where == "body":
        query = {**place.others, place.parameter if place.parameter != "any" else text: text}
        document: dict[str, Any] = {"queries": [query]}
        if place.parameter == "snapshot_id":
            document = {"queries": [dict(place.others)], "snapshot_id": text}
        return "POST", place.path, {"Content-Type": "application/json"}, json.dumps(document).encode()
    if place.where == "path":
        return "GET", place.path + urllib.parse.quote(text, safe=""), {}, None
    query = dict(place.others)
    headers = {}
    if place.where == "header":
        # What cannot be in a header at all, no client can send.
        headers[place.parameter] = "".join(c for c in text if c.isprintable() and ord(c) < 256)[:2_000]
    else:
        query[text if place.where == "name" else place.parameter] = text
    # Quotes go as they are where a URL may hold them, so that long text still fits the head.
    return "GET", f"{place.path}?{urllib.parse.urlencode(query, safe=chr(39))}", headers, None


def _rows(document: Any, place: Place) -> int:
    """Rows that were given away; a list of snapshots or metrics gives none."""
    if not isinstance(document, dict) or not isinstance(document.get("data"), list) or "snapshots" in place.path:
        return 0
    if place.where == "body":
        return sum(len(each["rows"]) for each in document["data"])
    return len(document["data"])
