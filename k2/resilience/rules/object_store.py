"""Errors of the object store, as Arrow's S3 client puts them into an OSError: AWS Error NAME (HTTP status NUMBER)."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass


def _names(failure_class: FailureClass, names: str, why: str) -> Rule:
    return Rule("object store", ("OSError",), failure_class, why, tuple(f"S3_{name}" for name in names.split()))


RULES = (
    _names(
        _TRANSIENT,
        "NETWORK_CONNECTION REQUEST_TIMEOUT",
        "The object store is away for now, or silent for longer than a request may take.",
    ),
    _names(
        _TRANSIENT,
        "SERVICE_UNAVAILABLE SLOW_DOWN THROTTLING INTERNAL_FAILURE HTTP_5xx HTTP_408 HTTP_429",
        "The object store is busy, starting or broken for now.",
    ),
    _names(_TRANSIENT, "NO_SUCH_UPLOAD", "The object store forgot a file half-way; it is written again."),
    _names(_TRANSIENT, "REQUEST_EXPIRED", "A token has run out; another is fetched for the next request."),
    _names(
        _FATAL,
        "ACCESS_DENIED INVALID_ACCESS_KEY_ID INVALID_SIGNATURE SIGNATURE_DOES_NOT_MATCH UNRECOGNIZED_CLIENT "
        "INVALID_CLIENT_TOKEN_ID MISSING_AUTHENTICATION_TOKEN INCOMPLETE_SIGNATURE OPT_IN_REQUIRED HTTP_401 HTTP_403",
        "The object store does not accept the credentials, or they lack the right.",
    ),
    _names(
        _FATAL,
        "REQUEST_TIME_TOO_SKEWED",
        "The clocks of this machine and of the object store are too far apart; one must be set.",
    ),
    _names(
        _FATAL,
        "NO_SUCH_BUCKET RESOURCE_NOT_FOUND NO_SUCH_KEY HTTP_404",
        "The object store has no such bucket or user; it must be made, or the address is another's.",
    ),
    _names(_FATAL, "HTTP_3xx", "The bucket is at another address: region or endpoint do not match."),
    _names(_FATAL, "INVALID_OBJECT_STATE", "The file lies in an archive, from which it must be restored first."),
    _names(
        _FATAL,
        "INVALID_ACTION INVALID_PARAMETER_COMBINATION INVALID_PARAMETER_VALUE INVALID_QUERY_PARAMETER "
        "MALFORMED_QUERY_STRING MISSING_ACTION MISSING_PARAMETER VALIDATION BUCKET_ALREADY_EXISTS "
        "BUCKET_ALREADY_OWNED_BY_YOU OBJECT_ALREADY_IN_ACTIVE_TIER OBJECT_NOT_IN_ACTIVE_TIER HTTP_4xx",
        "The object store understood the request and refuses it: what answers is something else, or a mistake in K2.",
    ),
)
