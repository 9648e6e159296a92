"""Bodies over the limit are refused with 413, and nothing else is.

A body above the limit MUST be answered 413 with the documented envelope and the connection closed, whether its length
is declared, chunked, and whether or not the handler would have read it (API-3); exactly the limit MUST be let
through; an unusable Content-Length MUST be 400; refusals MUST be counted. Shown over raw sockets against the running
server.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.history import HistoryWriter
from conformance.stacks.embedded import EmbeddedStack

pytestmark = pytest.mark.alone

LIMIT_BYTES = 10 * 1024 * 1024
PIECE_BYTES = 65_536
READS, NEVER_READS = "/v1/trades/query", "/health"
COUNTERS = ("http_request_size_limit_exceeded_total", "http_request_size_limit_errors_total")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of sending a body."""

    name: str
    path: str
    declared: str | None
    body_bytes: int
    expected_status: int
    chunked: bool = False

    def declared_length(self) -> int | str | None:
        """The Content-Length as sent: a number where it is one."""
        return int(self.declared) if self.declared is not None and self.declared.isdigit() else self.declared


def variants() -> Iterator[Variant]:
    """Declared and chunked, under, at and over the limit, to a handler that reads and to one that does not."""
    for path, reader, let_through in ((READS, "read", 422), (NEVER_READS, "unread", 405)):
        for size, where in ((LIMIT_BYTES - 1, "under"), (LIMIT_BYTES, "exact"), (LIMIT_BYTES + 1, "over")):
            status = 413 if size > LIMIT_BYTES else let_through
            yield Variant(f"declared_{where}_{reader}", path, str(size), size, status)
            yield Variant(f"chunked_{where}_{reader}", path, None, size, status, chunked=True)
    yield Variant("zero", READS, "0", 0, 422)
    yield Variant("negative", READS, "-1", 0, 400)
    yield Variant("not_a_number", READS, "ten", 0, 400)


@pytest.mark.clause(
    name="request_limits",
    claims=("API-3a", "API-3b", "API-3c", "API-3d", "API-3e", "API-3f"),
    checker="request_limits",
    title="413 above 10 MiB however the body comes, exactly the limit allowed, 400 for an unusable length, all counted",
    minimum_samples=15,
    remedy="see k2/api/body_limit.py",
)
def test_bodies_over_the_limit_are_refused_and_nothing_else(stack: EmbeddedStack, clause: ClauseRun) -> None:
    planned = list(variants())
    with clause.history(required_variants=[variant.name for variant in planned]) as history:
        api_url = stack.start_api()
        observe_counters(history, api_url, "before")
        for variant in planned:
            send(history, api_url, variant)
        observe_counters(history, api_url, "after")
    clause.judge()


def send(history: HistoryWriter, api_url: str, variant: Variant) -> None:
    """Send one variant and record what came back."""
    head = [f"POST {variant.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    if variant.chunked:
        head.append("Transfer-Encoding: chunked")
    if variant.declared is not None:
        head.append(f"Content-Length: {variant.declared}")
    attributes = {
        "variant": variant.name,
        "method": "POST",
        "declared_length": variant.declared_length(),
        "chunked": variant.chunked,
        "limit_bytes": LIMIT_BYTES,
        "handler_reads": variant.path == READS,
        "expected_status": variant.expected_status,
        "sent_bytes": variant.body_bytes,
    }
    with history.invoke("api", "request", attributes) as invocation:
        answer = http.raw_request(api_url, head, list(pieces(variant)))
        invocation.attributes |= {
            "status": answer.status,
            "envelope": http.parsed(answer.body),
            "connection_closed": answer.closed if answer.status == 413 else None,
        }


def pieces(variant: Variant) -> Iterator[bytes]:
    """The body in pieces, framed where chunked."""
    left = variant.body_bytes
    while left > 0:
        piece = b"x" * min(left, PIECE_BYTES)
        yield b"%x\r\n%s\r\n" % (len(piece), piece) if variant.chunked else piece
        left -= len(piece)
    if variant.chunked:
        yield b"0\r\n\r\n"


def observe_counters(history: HistoryWriter, api_url: str, moment: str) -> None:
    """Record the two counters, summed over their labels."""
    exposition = http.get(f"{api_url}/metrics").body
    counters = {name: http.metric(exposition, name, {}) for name in COUNTERS}
    history.operation("api", "counters", "ok", attributes={"moment": moment, "counters": counters})
