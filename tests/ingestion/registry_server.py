"""A Schema Registry that gives the answers it was told to, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class AnsweringServer(ThreadingHTTPServer):
    """Answers requests with these statuses and bodies in turn, the last of them again and again, and counts them."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: AnsweringServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def _answer(self) -> None:
        status, body = self.server.answers[min(self.server.requests, len(self.server.answers) - 1)]
        self.server.requests += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering(status: int, body: object) -> Iterator[AnsweringServer]:
    """A server that answers everything with this status and this JSON value, or these bytes."""
    with answering_in_turn((status, body)) as server:
        yield server


@contextmanager
def answering_in_turn(*answers: tuple[int, object]) -> Iterator[AnsweringServer]:
    """A server that gives these answers one after the other, the last of them from then on."""
    raw = [(status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in answers]
    server = AnsweringServer(*raw)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
