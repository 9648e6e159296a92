"""HTTP as a client does it: pages of the API with the standard library, raw sockets where the protocol is the point."""

import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REQUEST_TIMEOUT_SECONDS = 60.0
PAGE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is parsed where it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back over a raw socket, and whether the server closed the connection afterwards."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    closed: bool
    sent_bytes: int


def get(url: str, parameters: Mapping[str, Any] | None = None) -> Answer:
    """GET; an error status is an answer like any other."""
    query = "?" + urllib.parse.urlencode(dict(parameters or {})) if parameters else ""
    return _ask(urllib.request.Request(url + query))


def post(url: str, document: Any) -> Answer:
    """POST a JSON document."""
    body = json.dumps(document).encode()
    return _ask(urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}))


def count_rows(url: str, parameters: Mapping[str, Any] | None = None) -> int:
    """How many rows there are on all pages."""
    return sum(len(page.body["data"]) for page in all_pages(url, parameters or {}))


def all_pages(url: str, parameters: Mapping[str, Any]) -> list[Answer]:
    """Every page of a listing, following the cursor.

    Raises:
        ValueError: a page was not answered with 200.
    """
    pages: list[Answer] = []
    cursor: str | None = None
    while True:
        asked = {**parameters, "limit": PAGE_ROWS, **({"cursor": cursor} if cursor else {})}
        answer = get(url, asked)
        if answer.status != 200:
            raise ValueError(f"{url} answered {answer.status}: {answer.body}")
        pages.append(answer)
        cursor = answer.body["meta"]["next_cursor"]
        if cursor is None:
            return pages


def raw_request(url: str, head: Sequence[str], chunks: Sequence[bytes], timeout_seconds: float = 20.0) -> RawAnswer:
    """Send exactly these header lines and body pieces, then read until the server closes or falls silent.

    Args:
        url: the server's address.
        head: request line and headers, without line ends.
        chunks: pieces sent as they are (chunk framing included, where wanted); stops early if the server closes.
        timeout_seconds: of silence.
    """
    address = urllib.parse.urlparse(url)
    with socket.create_connection((address.hostname, address.port), timeout_seconds) as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        sent = 0
        for chunk in chunks:
            try:
                connection.sendall(chunk)
                sent += len(chunk)
            except OSError:
                break
        received, closed = _receive(connection)
    return raw_answer(received, closed, sent)


def raw_answer(received: bytes, closed: bool, sent_bytes: int) -> RawAnswer:
    """The first answer in what was received."""
    head_bytes, _, body = received.partition(b"\r\n\r\n")
    lines = head_bytes.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "")
    return RawAnswer(status, headers, body[: int(length)] if length.isdigit() else body, closed, sent_bytes)


def is_refused(host: str, port: int) -> bool:
    """Whether nobody takes a connection there."""
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def metric(exposition: str, name: str, labels: Mapping[str, str]) -> float:
    """Sum of the samples of a metric that carry these labels."""
    return sum(samples(exposition, name, labels))


def samples(exposition: str, name: str, labels: Mapping[str, str]) -> list[float]:
    """The samples of a metric that carry these labels."""
    return [
        float(line.rsplit(" ", 1)[1])
        for line in exposition.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
        and all(f'{key}="{value}"' in line for key, value in labels.items())
    ]


def _ask(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as reply:
            return Answer(reply.status, dict(reply.headers), parsed(reply.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), parsed(error.read()))


def parsed(body: bytes) -> Any:
    """JSON where it is, else text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _receive(connection: socket.socket) -> tuple[bytes, bool]:
    """Everything until the server closes; not closed if it is silent for a second after a whole answer."""
    received = b""
    give_up_at = time.monotonic() + (connection.gettimeout() or 20.0)
    while time.monotonic() < give_up_at:
        connection.settimeout(1.0 if _is_whole(received) else max(0.1, give_up_at - time.monotonic()))
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            return received, False
        except ConnectionResetError:
            return received, True
        if not piece:
            return received, True
        received += piece
    return received, False


def _is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False
