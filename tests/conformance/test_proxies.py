"""The port to Toxiproxy: several servers in one process, refusals, and answers that do not come."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from typing import Any

import pytest

from conformance.stacks.containers import proxies
from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.proxies import ActiveToxic, Proxies


class ToxiproxyServer(ThreadingHTTPServer):
    """As much of Toxiproxy's interface as is used, over real HTTP."""

    def __init__(self, *names: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxies: dict[str, dict[str, Any]] = {
            name: {"name": name, "listen": "x:1", "upstream": "y:1", "enabled": True, "toxics": {}} for name in names
        }
        self.empty_answers = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ToxiproxyServer

    def do_GET(self) -> None:
        if self.server.empty_answers:
            self.server.empty_answers -= 1
            self._answer(503, None)
            return
        _, _, name, *rest = [*self.path.split("/"), ""][:5]
        if not name:
            self._answer(200, self.server.proxies)
        elif rest:
            self._answer(200, list(self.server.proxies[name]["toxics"].values()))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        if self.path == "/reset":
            for proxy in self.server.proxies.values():
                proxy |= {"enabled": True, "toxics": {}}
            self._answer(204, None)
            return
        proxy = self.server.proxies[self.path.split("/")[2]]
        if not self.path.endswith("/toxics"):
            self._answer(200, proxy | body)
            proxy |= body
        elif body["type"] == "nonsense":
            self._answer(400, {"error": "invalid toxic type"})
        else:
            proxy["toxics"][body["name"]] = body
            self._answer(200, body)

    def do_DELETE(self) -> None:
        _, _, name, _, toxic = self.path.split("/")
        found = self.server.proxies[name]["toxics"].pop(toxic, None)
        self._answer(404 if found is None else 204, None)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def _answer(self, status: int, document: Any) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(*names: str) -> Iterator[ToxiproxyServer]:
    with ToxiproxyServer(*names) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[ToxiproxyServer]:
    with serving("kafka-1", "redis") as running:
        yield running


def test_a_toxic_is_put_replaced_listed_and_taken_away(server: ToxiproxyServer) -> None:
    port = Proxies(server.url)
    assert port.names() == ["kafka-1", "redis"]
    port.add_toxic("redis", "latency", {"latency": 100}, toxic="slow")
    port.add_toxic("redis", "latency", {"latency": 900}, toxic="slow", stream="upstream", toxicity=0.5)
    assert port.active_toxics("redis") == [ActiveToxic("slow", "latency", "upstream", 0.5, {"latency": 900})]
    assert port.toxics("kafka-1") == []
    port.remove_toxic("redis", "slow")
    assert port.toxics("redis") == []


def test_a_proxy_is_closed_and_opened(server: ToxiproxyServer) -> None:
    port = Proxies(server.url)
    port.disable("redis")
    assert (port.is_enabled("redis"), port.is_enabled("kafka-1")) == (False, True)
    port.reset()
    assert port.is_enabled("redis")


def test_servers_of_one_process_are_not_taken_for_one_another() -> None:
    with ExitStack() as running:
        servers = [running.enter_context(serving("redis")) for _ in range(4)]
        ports = [Proxies(server.url) for server in servers]

        def put(number: int) -> None:
            index = number % len(ports)
            ports[index].add_toxic("redis", "latency", {"latency": number}, toxic=f"of_{index}_{number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(80)))
        for index, port in enumerate(ports):
            found = port.toxics("redis")
            assert len(found) == 20
            assert {name.split("_")[1] for name in found} == {str(index)}


def test_what_toxiproxy_refuses_is_one_line(server: ToxiproxyServer) -> None:
    port = Proxies(server.url)
    with pytest.raises(ServiceError, match=r"refuses redis: toxic x \(nonsense\): .*invalid toxic type"):
        port.add_toxic("redis", "nonsense", {}, toxic="x")
    with pytest.raises(ServiceError, match="there is no proxy called postgres"):
        port.disable("postgres")
    with pytest.raises(ServiceError, match="removal of toxic gone"):
        port.remove_toxic("redis", "gone")


def test_an_empty_answer_is_asked_for_again(server: ToxiproxyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "_WAIT_SECONDS", 0.01)
    server.empty_answers = 2
    assert Proxies(server.url).names() == ["kafka-1", "redis"]
    server.empty_answers = 3
    with pytest.raises(ServiceError, match="does not answer"):
        Proxies(server.url).names()


def test_a_toxiproxy_that_is_not_there_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "_WAIT_SECONDS", 0.01)
    with closing(create_server(("127.0.0.1", 0))) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ServiceError, match=f"toxiproxy does not answer at {url}"):
        Proxies(url).names()
