"""A server that answers as Prometheus' alerts API does, with what a test gives it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def entry(name: str, severity: str, component: str = "api", state: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, "component": component, **labels},
        "annotations": {"summary": f"{name} it is"},
        "state": state,
        "activeAt": "2026-11-21T09:45:00Z",
        "value": "1e+00",
    }


class AlertsServer:
    """What it answers can be changed while it runs."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.url = ""
        self.questions = 0


@contextmanager
def alerts_server() -> Iterator[AlertsServer]:
    answers = AlertsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.questions += 1
            body = answers.body
            if body is None:
                body = json.dumps({"status": "success", "data": {"alerts": answers.alerts}}).encode()
            self.send_response(answers.status if self.path == "/api/v1/alerts" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
