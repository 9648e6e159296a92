"""The OpenAPI document says what is really answered, and its page needs nothing from anywhere."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from starlette.testclient import TestClient

from k2.api.documentation_page import documentation_page
from k2.api.problems import PROBLEMS
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE
from tests.query.table_files import Opened, quote_rows, reference_rows, trade_rows


def answer_schema(document: dict[str, Any], path: str, status: int, method: str = "get") -> dict[str, Any]:
    response = document["paths"][path][method]["responses"][str(status)]
    return {**response["content"]["application/json"]["schema"], "components": document["components"]}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/trades?limit=2", 200),
        ("/v1/quotes", 200),
        ("/v1/reference", 200),
        ("/v1/symbols?data_type=trades", 200),
        ("/v1/gaps?data_type=trades", 200),
        ("/v1/snapshots?data_type=quotes", 200),
        ("/health", 200),
        ("/v1/trades?limit=0", 422),
        ("/v1/trades?snapshot_id=77", 404),
    ],
)
def test_answers_have_the_documented_shape(client: TestClient, opened: Opened, path: str, status: int) -> None:
    opened.source.commit(TRADE, trade_rows(4))
    opened.source.commit(QUOTE, quote_rows(4))
    opened.source.commit(REFERENCE_DATA, reference_rows(2))
    document = client.get("/openapi.json").json()
    answer = client.get(path)
    assert answer.status_code == status
    schema = answer_schema(document, path.partition("?")[0], status)
    jsonschema_rs.validate(schema, answer.json())
    spoilt = {**answer.json(), "unexpected": 1, "error": {}, "status": None}
    assert not jsonschema_rs.is_valid(schema, spoilt)


def test_examples_have_the_documented_shape(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    checked = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response["content"].values():
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, content["example"])
                    checked += 1
    assert checked > 50


def test_every_answer_is_documented_to_carry_a_request_id(client: TestClient) -> None:
    for operations in client.get("/openapi.json").json()["paths"].values():
        for operation in operations.values():
            assert all("X-Request-Id" in response["headers"] for response in operation["responses"].values())


def test_a_query_parameter_is_never_documented_as_null(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/trades"]["get"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert '"null"' not in json.dumps(schemas)
    assert schemas["symbol"]["maxLength"] == 128
    assert schemas["cursor"]["format"] == "k2-cursor"
    assert schemas["snapshot_id"]["minimum"] == 0


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: set[str] = set()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "action", "data", "srcset"):
                self.addresses.add(value or "")
            if name == "id":
                self.names.add(value or "")


def test_the_page_shows_everything_and_loads_nothing(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = _Loads()
    page.feed(answer.text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert page.addresses - {"/openapi.json"} <= {f"#{name}" for name in page.names}
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}" in answer.text or f" {path}</code>" in answer.text
    assert {problem.code.lower() for problem in PROBLEMS} <= page.names
    assert not re.search(r"url\(|@import|https?://", answer.text)


def test_the_type_of_an_error_leads_to_its_line(client: TestClient) -> None:
    address, _, anchor = client.get("/nowhere").json()["error"]["type"].partition("#")
    assert f'id="{anchor}"' in client.get(address).text


def test_names_in_the_page_are_shown_as_text() -> None:
    operation = {
        "summary": "<b>bold</b>",
        "parameters": [{"name": "<i>", "schema": {"type": "string"}}],
        "responses": {"200": {"description": "&", "content": {"text/plain": {"example": "<script>"}}}},
    }
    info = {"title": "<t>", "version": "1", "summary": "s", "description": "d"}
    page = documentation_page({"info": info, "paths": {"/<x>": {"get": operation}}})
    assert "<script>" not in page
    assert "<b>bold" not in page
    assert "&lt;x&gt;" in page
