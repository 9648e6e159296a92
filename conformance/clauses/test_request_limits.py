"""Bodies over the limit are refused with 413, and nothing else is.

A body above the limit MUST be answered 413 with the documented envelope and the connection closed, whether its length
is declared or its chunks have none, however large it is, and whether or not the handler would have read it (API-3);
exactly the limit MUST be let through; an unusable Content-Length MUST be 400; refusals MUST be counted by their labels.
What is sent behind a body, or without saying that there is one, belongs to no body: it MUST NOT be taken in either. The
server's memory MUST grow by less than twice the limit at each request. Shown over raw sockets on the running server;
the gigabytes are made while they are sent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.process_memory import peak_bytes, reset_peak
from conformance.drivers.streaming import PIECE_BYTES, stream_request
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack

pytestmark = pytest.mark.alone

LIMIT_BYTES = 10 * 1024 * 1024
SIZES = {
    "one_under": LIMIT_BYTES - 1,
    "exact": LIMIT_BYTES,
    "one_over": LIMIT_BYTES + 1,
    "gigabyte": 1024**3,
}
READS, NEVER_READS = "/v1/trades/query", "/health"
QUERY = b'{"queries":[{"limit":1}]'
EXCEEDED, ERRORS = "http_request_size_limit_exceeded_total", "http_request_size_limit_errors_total"
LYING_LENGTH = 2
MOST_WARM_UPS = 10
UNUSABLE_LENGTHS = {
    "negative": ("-1", "not_a_number"),
    "not_a_number": ("ten", "not_a_number"),
    "signed": ("+5", "not_a_number"),
    "exponent": ("1e3", "not_a_number"),
    "missing_number": ("", "not_a_number"),
    "given_twice": ("5\r\nContent-Length: 6", "duplicate"),
    "beside_chunks": ("5\r\nTransfer-Encoding: chunked", "with_chunked"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of sending a body.

    Attributes:
        framing: declared, chunked, none (no word about a body), lying (less is declared than follows).
        declared: Content-Length as sent.
        sent_bytes: what is sent behind the head, without chunk framing.
        expected_status: where it is let through.
        reason: the label an unusable length is counted under.
    """

    name: str
    path: str
    framing: str
    declared: str | None
    sent_bytes: int
    expected_status: int
    reason: str | None = None

    def head(self) -> bytes:
        """Request line and headers."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        if self.declared is not None:
            lines.append(f"Content-Length: {self.declared}")
        return "\r\n".join([*lines, "", ""]).encode()

    def pieces(self) -> Iterator[bytes]:
        """What follows: a bulk query, padded with blanks to the size, framed where chunked."""
        sent = 0
        while sent < self.sent_bytes:
            left = self.sent_bytes - sent
            piece = (QUERY if not sent else b"").ljust(min(left, PIECE_BYTES))
            if len(piece) == left:
                piece = piece[:-1] + b"}"
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.framing == "chunked" else piece
            sent += len(piece)
        if self.framing == "chunked":
            yield b"0\r\n\r\n"


def variants() -> Iterator[Variant]:
    """Every framing, size and handler; then lengths that are none."""
    for framing, (where, size), path in product(
        ("declared", "chunked", "none", "lying"), SIZES.items(), (READS, NEVER_READS)
    ):
        declared = {"declared": str(size), "lying": str(LYING_LENGTH)}.get(framing)
        is_whole = framing in ("declared", "chunked")
        let_through = 405 if path == NEVER_READS else 200 if is_whole else 422
        reader = "read" if path == READS else "unread"
        yield Variant(f"{framing}_{where}_{reader}", path, framing, declared, size, let_through)
    yield Variant("zero", READS, "declared", "0", 0, 422)
    for name, (length, reason) in UNUSABLE_LENGTHS.items():
        yield Variant(name, READS, "declared", length, 0, 400, reason)


@pytest.mark.clause(
    name="request_limits",
    claims=("API-3a", "API-3b", "API-3c", "API-3d", "API-3e", "API-3f"),
    checker="request_limits",
    title="413 above 10 MiB however the body comes, exactly the limit allowed, memory bounded, refusals counted",
    minimum_samples=40,
    remedy="see k2/api/body_limit.py and k2/api/protocol.py",
)
def test_bodies_over_the_limit_are_refused_and_nothing_else(stack: Stack, clause: ClauseRun) -> None:
    planned = list(variants())
    required = [variant.name for variant in planned]
    with clause.history(required_variants=required, memory=True, labels=True) as history:
        api_url = stack.start_api()
        process_id = stack.process("api").pid
        warm_up(api_url, process_id)
        observe_counters(history, api_url, "before")
        for variant in planned:
            send(history, api_url, process_id, variant)
        observe_counters(history, api_url, "after")
    clause.judge()


def warm_up(api_url: str, process_id: int) -> None:
    """Have the server load what its first requests load, which stays and is not the bodies'.

    It ends with the first request that costs it little, or at last without one, which the measured ones then show.
    """
    largest = Variant("warm_up", READS, "declared", str(LIMIT_BYTES), LIMIT_BYTES, 200)
    for _ in range(MOST_WARM_UPS):
        before_bytes = reset_peak(process_id)
        stream_request(api_url, largest.head(), largest.pieces())
        if peak_bytes(process_id) - before_bytes < LIMIT_BYTES // 2:
            return


def send(history: HistoryWriter, api_url: str, process_id: int, variant: Variant) -> None:
    """Send one variant and record what came back, and what it cost the server."""
    declared = variant.declared
    attributes = {
        "variant": variant.name,
        "method": "POST",
        "endpoint": variant.path,
        "framing": variant.framing,
        "declared_length": int(declared) if declared is not None and declared.isdigit() else declared,
        "chunked": variant.framing == "chunked",
        "limit_bytes": LIMIT_BYTES,
        "handler_reads": variant.path == READS,
        "expected_status": variant.expected_status,
        "reason": variant.reason,
        "sent_bytes": variant.sent_bytes,
    }
    with history.invoke("api", "request", attributes) as invocation:
        before_bytes = reset_peak(process_id)
        answer = stream_request(api_url, variant.head(), variant.pieces())
        invocation.attributes |= {
            "status": answer.status,
            "envelope": http.parsed(answer.body),
            "connection_closed": answer.closed if answer.status in (400, 413) else None,
            "taken_bytes": answer.sent_bytes,
            "rss_before_bytes": before_bytes,
            "rss_peak_bytes": peak_bytes(process_id),
        }


def observe_counters(history: HistoryWriter, api_url: str, moment: str) -> None:
    """Record the two counters, summed and by their labels."""
    exposition = http.get(f"{api_url}/metrics").body
    counters = {name: http.metric(exposition, name, {}) for name in (EXCEEDED, ERRORS)}
    labelled = {
        EXCEEDED: by_label(exposition, EXCEEDED, ("method", "endpoint")),
        ERRORS: by_label(exposition, ERRORS, ("reason",)),
    }
    history.operation(
        "api", "counters", "ok", attributes={"moment": moment, "counters": counters, "by_label": labelled}
    )


def by_label(exposition: str, name: str, labels: tuple[str, ...]) -> dict[str, float]:
    """The samples of a counter, under the values of its labels with a blank between them."""
    found = {}
    for line in exposition.splitlines():
        if line.startswith(f"{name}{{"):
            values = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found[" ".join(values[label] for label in labels)] = float(line.rsplit(" ", 1)[1])
    return found
