"""Panels are asked for as Grafana asks, and one that brings no number is named."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conformance.drivers.panel_queries import load_dashboards
from conformance.panel_data import ask_panels, main

ROOT = Path(__file__).resolve().parents[2]


class Prometheus(HTTPServer):
    """Answers every query with one series of these values; keeps what was asked."""

    def __init__(self, values: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.values = values
        self.is_empty: Callable[[str], bool] = lambda expression: False
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Prometheus

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.server.asked.append((address.path, parse_qs(address.query)))
        pairs = [[0, value] for value in self.server.values]
        series: dict[str, Any] = {"values": pairs} if address.path.endswith("_range") else {"value": pairs[-1]}
        empty = self.server.is_empty(self.server.asked[-1][1]["query"][0])
        body = json.dumps({"data": {"result": [] if empty else [{"metric": {}, **series}]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing is written while tests run."""


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    server = Prometheus(["NaN", "1"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_query_is_sent_filled_in_by_its_kind(prometheus: Prometheus) -> None:
    boards = {"k2-consumer-monitoring": load_dashboards(ROOT)["k2-consumer-monitoring"]}
    answers = list(ask_panels(prometheus.url, boards.values(), {"instance": "s1-.+"}))
    assert all(answer.series == 1 and not answer.is_fallback for answer in answers)
    bare = [asked for asked in prometheus.asked if "vector(0)" not in asked[1]["query"][0]]
    written = [asked for asked in prometheus.asked if asked not in bare]
    assert 0 < len(written) < len(answers) == len(bare)
    assert all('instance=~"s1-.+"' in parameters["query"][0] for _, parameters in prometheus.asked)
    for answer, (path, parameters) in zip(answers, bare, strict=True):
        assert path == ("/api/v1/query" if answer.query.is_instant else "/api/v1/query_range")
        assert "$" not in parameters["query"][0]
        assert set(parameters) == {"query"} if answer.query.is_instant else {"query", "start", "end", "step"}


def test_panels_without_a_number_are_named(prometheus: Prometheus, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([prometheus.url]) == 0
    assert capsys.readouterr().out.endswith(" 0 of them empty\n")
    prometheus.values = ["NaN"]
    assert main([prometheus.url]) == 1
    *named, summary = capsys.readouterr().out.splitlines()
    assert summary.endswith(f" {len([line for line in named if ': nothing: ' in line])} of them empty")
    assert any(line.startswith("k2-api-metrics: Burn rate: nothing: k2:api_error_ratio:1h") for line in named)


def test_a_zero_that_stands_for_nothing_is_told_apart(prometheus: Prometheus) -> None:
    board = load_dashboards(ROOT)["k2-api-metrics"]
    prometheus.is_empty = lambda expression: "vector(0)" not in expression
    found = {answer.query.panel: (answer.series, answer.is_fallback) for answer in ask_panels(prometheus.url, [board])}
    assert found["Errors"] == found["Shed"] == (1, True)
    assert found["Availability"] == (0, False)


def test_answers_are_kept_for_pictures(prometheus: Prometheus, tmp_path: Path) -> None:
    kept = tmp_path / "answers.json"
    assert main(["--record", str(kept), prometheus.url]) == 0
    first = json.loads(kept.read_text())[0]
    assert set(first) == {"dashboard", "panel", "legend", "result"}
    assert first["result"][0]["values"] == [[0, "NaN"], [0, "1"]]


def test_a_prometheus_that_does_not_answer_is_no_empty_panel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9"]) == 3
    assert "does not answer" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 64
