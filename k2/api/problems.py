"""Every way a request can fail. Answers, the OpenAPI document and the documentation page take them from here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of failure: what RFC 9457 calls a problem type.

    Attributes:
        code: for programs.
        status: HTTP status.
        title: what it is, the same for every occurrence.
        meaning: when it happens and what to do.
    """

    code: str
    status: int
    title: str
    meaning: str

    @property
    def type(self) -> str:
        """Address of its description, relative to the service."""
        return f"/docs#{self.code.lower()}"


BAD_REQUEST = Problem("BAD_REQUEST", 400, "Malformed request", "What was sent is not HTTP/1.1.")
INVALID_CONTENT_LENGTH = Problem(
    "INVALID_CONTENT_LENGTH",
    400,
    "Unusable Content-Length",
    "It is negative, not a number, given twice, or beside Transfer-Encoding.",
)
INCOMPLETE_BODY = Problem(
    "INCOMPLETE_BODY", 400, "Incomplete body", "The body ended before its declared length, or between two chunks."
)
NOT_FOUND = Problem("NOT_FOUND", 404, "No such address", "The path is not one of this service.")
SNAPSHOT_NOT_FOUND = Problem(
    "SNAPSHOT_NOT_FOUND", 404, "No such snapshot", "It never was, or has expired; /v1/snapshots lists those there are."
)
METHOD_NOT_ALLOWED = Problem("METHOD_NOT_ALLOWED", 405, "Method not allowed", "The Allow header names those that are.")
REQUEST_TIMEOUT = Problem(
    "REQUEST_TIMEOUT", 408, "The request came too slowly", "Its head or its body did not arrive in time; send it again."
)
PAYLOAD_TOO_LARGE = Problem(
    "PAYLOAD_TOO_LARGE", 413, "Body too large", "The body is over limit_mb; send it in smaller requests."
)
UNSUPPORTED_MEDIA_TYPE = Problem(
    "UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported media type", "A body must be sent as application/json."
)
INVALID_PARAMETER = Problem(
    "INVALID_PARAMETER", 422, "Unusable parameter", "parameter names the first one, details every one, with the reason."
)
HEADER_TOO_LARGE = Problem(
    "HEADER_TOO_LARGE", 431, "Head too large", "Request line and headers together are over the limit."
)
INTERNAL_ERROR = Problem(
    "INTERNAL_ERROR", 500, "Internal error", "The request failed inside; the log has the reason under its request_id."
)
NOT_READY = Problem("NOT_READY", 503, "Not ready", "Only /health says so: ask another instance.")
POOL_EXHAUSTED = Problem(
    "POOL_EXHAUSTED", 503, "Every query connection is busy", "Ask again after Retry-After seconds."
)
UNAVAILABLE = Problem("UNAVAILABLE", 503, "The tables cannot be read", "Catalog or warehouse do not answer; ask later.")
SHED = Problem(
    "SHED",
    503,
    "Not answered at the present level",
    "shed names the kind of request, the message what is answered instead; X-Degradation-Level has the level.",
)
TOO_MANY_CONNECTIONS = Problem(
    "TOO_MANY_CONNECTIONS", 503, "Too many connections", "All are taken; ask again after Retry-After seconds."
)
TOO_MANY_BODIES = Problem(
    "TOO_MANY_BODIES", 503, "Too many bodies at once", "Others fill the memory for bodies; ask again after Retry-After."
)
STOPPING = Problem(
    "STOPPING", 503, "The service stops", "It stopped before the request was answered; ask another instance."
)
QUERY_TIMEOUT = Problem(
    "QUERY_TIMEOUT",
    504,
    "Stopped at the time limit",
    "Ask for one symbol, a shorter time range or fewer rows; limit_seconds is the limit.",
)

PROBLEMS: tuple[Problem, ...] = (
    BAD_REQUEST,
    INVALID_CONTENT_LENGTH,
    INCOMPLETE_BODY,
    NOT_FOUND,
    SNAPSHOT_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    PAYLOAD_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_PARAMETER,
    HEADER_TOO_LARGE,
    INTERNAL_ERROR,
    NOT_READY,
    POOL_EXHAUSTED,
    UNAVAILABLE,
    SHED,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_BODIES,
    STOPPING,
    QUERY_TIMEOUT,
)
