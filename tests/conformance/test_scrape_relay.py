"""The relay hands on the metrics of the processes it was told of, and nothing else."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.stacks.containers.scrape_relay import ScrapedProcess, ScrapeRelay, put_relay

SERVES = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"k2_answers 1\\n")
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
CONFIGURATION = Path(__file__).resolve().parents[2] / "conformance/stacks/containers/configuration/prometheus"


@pytest.fixture
def relay() -> Iterator[ScrapeRelay]:
    opened = ScrapeRelay("127.0.0.1")
    yield opened
    opened.close()


@contextmanager
def process() -> Iterator[int]:
    child = subprocess.Popen(
        [sys.executable, "-c", SERVES], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline()
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def ask(relay: ScrapeRelay, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{relay.address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def targets(relay: ScrapeRelay) -> list[dict[str, Any]]:
    return list(json.loads(ask(relay, "/targets")[1]))


def test_each_process_is_a_target_with_its_job_and_its_name(relay: ScrapeRelay) -> None:
    assert targets(relay) == []
    relay.expose(ScrapedProcess("s1-api", "api", 1))
    (target,) = targets(relay)
    assert target["targets"] == [relay.address]
    assert target["labels"] == {"job": "api", "instance": "s1-api", "__metrics_path__": "/metrics/s1-api"}
    relay.withdraw(["s1-api", "s1-feed"])
    assert targets(relay) == []


def test_its_metrics_are_handed_on_as_long_as_it_lives(relay: ScrapeRelay) -> None:
    with process() as pid:
        relay.expose(ScrapedProcess("s1-api", "api", pid))
        assert [ask(relay, "/metrics/s1-api") for _ in range(2)] == [(200, "k2_answers 1\n")] * 2
        assert ask(relay, "/metrics/s2-api")[0] == 404
        assert ask(relay, "/v1/trades")[0] == 404
        assert ask(relay, "/metrics/../v1/trades")[0] == 404
    assert ask(relay, "/metrics/s1-api")[0] == 502


def test_one_that_is_started_again_takes_the_place_of_the_dead_one(relay: ScrapeRelay) -> None:
    for _ in range(2):
        with process() as pid:
            relay.expose(ScrapedProcess("s1-api", "api", pid))
            assert ask(relay, "/metrics/s1-api")[0] == 200
    assert len(targets(relay)) == 1


def test_a_process_that_listens_nowhere_gives_nothing(relay: ScrapeRelay) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as silent:
        relay.expose(ScrapedProcess("s1-feed", "feed", silent.pid))
        status, said = ask(relay, "/metrics/s1-feed")
        assert (status, "does not listen" in said) == (502, True)
        silent.kill()


def test_where_this_host_has_no_such_address_there_is_no_relay(tmp_path: Path) -> None:
    assert ScrapeRelay.opened(None) is None
    assert ScrapeRelay.opened("192.0.2.1") is None
    copy = tmp_path / "prometheus.yml"
    copy.write_text((CONFIGURATION / "prometheus.yml").read_text())
    put_relay(copy, None)
    assert "scrape-relay" not in copy.read_text()


def test_the_configuration_names_the_relay(tmp_path: Path, relay: ScrapeRelay) -> None:
    copy = tmp_path / "prometheus.yml"
    copy.write_text((CONFIGURATION / "prometheus.yml").read_text())
    put_relay(copy, relay)
    jobs = {job["job_name"]: job for job in yaml.safe_load(copy.read_text())["scrape_configs"]}
    assert jobs["k2"]["http_sd_configs"][0]["url"] == f"http://{relay.address}/targets"
