"""Hands metrics of K2's processes, which listen on this host's loopback alone, to the Prometheus of a run.

Containers do not reach loopback. So one server listens on the address this host has in the run's own network, which
nobody but its containers and this host routes to, and answers two questions: which processes there are, in the form of
Prometheus's HTTP service discovery, and what the metrics of one of them are. Whatever else a process serves cannot be
reached through it. A process that is dead or frozen gives no metrics here either, so `up` is 0. See
docs/decisions/0018-scraping.md.
"""

import http.client
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import psutil
import yaml

TARGETS = "/targets"
_METRICS = "/metrics"
_LOOPBACK = "127.0.0.1"
_ANSWER_SECONDS = 4.0
"""Less than Prometheus waits."""
_POLL_SECONDS = 0.05
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class ScrapedProcess:
    """A process of K2 that serves its metrics at /metrics of the only port it listens on.

    Attributes:
        instance: what Prometheus calls it; a process that is started again keeps the name.
        job: "api", "consumer" or "feed", as the rules know them.
        pid: of the process.
    """

    instance: str
    job: str
    pid: int


class ScrapeRelay:
    """The server; listens from now on until `close`.

    Args:
        host: address to listen on.

    Raises:
        OSError: that is no address of this host.
    """

    def __init__(self, host: str) -> None:
        self._processes: dict[str, ScrapedProcess] = {}
        self._ports: dict[int, int] = {}
        self._server = _Server((host, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self._thread.start()

    @classmethod
    def opened(cls, host: str | None) -> Self | None:
        """One that listens there; None where this host has no such address, as with an engine in a virtual machine."""
        try:
            return None if host is None else cls(host)
        except OSError:
            return None

    @property
    def address(self) -> str:
        """Where it listens, "host:port"."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def expose(self, process: ScrapedProcess) -> None:
        """Have a process asked from now on, in place of the one that had its name."""
        self._processes[process.instance] = process

    def withdraw(self, instances: Iterable[str]) -> None:
        """Have processes asked no longer."""
        for instance in instances:
            self._processes.pop(instance, None)

    def close(self) -> None:
        """Listen no longer. Calling again does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def targets(self) -> list[dict[str, object]]:
        """Every process, as Prometheus's service discovery has them."""
        return [
            {
                "targets": [self.address],
                "labels": {"job": one.job, "instance": one.instance, "__metrics_path__": f"{_METRICS}/{one.instance}"},
            }
            for one in list(self._processes.values())
        ]

    def metrics(self, instance: str) -> bytes:
        """What a process exports.

        Raises:
            KeyError: there is none of that name.
            OSError: it does not answer.
        """
        pid = self._processes[instance].pid
        port = self._ports.get(pid) or _listening_port(pid)
        connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", _METRICS)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._ports.pop(pid, None)
            raise OSError(f"{instance} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise OSError(f"{instance} answers {answer.status}")
        self._ports[pid] = port
        return body


def put_relay(prometheus_file: Path, relay: ScrapeRelay | None) -> None:
    """Name, in a copy of the harness's configuration of Prometheus, who tells which processes there are.

    Args:
        prometheus_file: the copy.
        relay: None where there is none, and then no process is asked.
    """
    configuration = yaml.safe_load(prometheus_file.read_text())
    jobs = configuration["scrape_configs"]
    (ours,) = [job for job in jobs if "http_sd_configs" in job]
    if relay is None:
        jobs.remove(ours)
    else:
        ours["http_sd_configs"][0]["url"] = f"http://{relay.address}{TARGETS}"
    prometheus_file.write_text(yaml.safe_dump(configuration, sort_keys=False))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], relay: ScrapeRelay) -> None:
        self.relay = relay
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        relay = self.server.relay
        try:
            if self.path == TARGETS:
                self._answer(HTTPStatus.OK, _JSON, json.dumps(relay.targets()).encode())
            elif self.path.startswith(f"{_METRICS}/"):
                self._answer(HTTPStatus.OK, _TEXT, relay.metrics(self.path.removeprefix(f"{_METRICS}/")))
            else:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"there are /targets and /metrics/<instance>\n")
        except KeyError:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"no process of that name\n")
        except OSError as error:
            self._answer(HTTPStatus.BAD_GATEWAY, _TEXT, f"{error}\n".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # Whoever asked has hung up.
            self.close_connection = True


def _listening_port(pid: int) -> int:
    """The port of loopback that a process listens on.

    Raises:
        OSError: it has ended, or listens nowhere.
    """
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error as error:
        raise OSError(str(error)) from error
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == _LOOPBACK:
            return int(connection.laddr.port)
    raise OSError(f"process {pid} does not listen")
