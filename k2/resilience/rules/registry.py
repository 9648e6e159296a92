"""Errors of the Schema Registry's client, and of the HTTP library under it (whichever of the two it found)."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass
_REGISTRY = "confluent_kafka.schema_registry.error.SchemaRegistryError"
_TOKEN = "confluent_kafka.schema_registry.error.OAuthTokenError"
_HTTP_LIBRARIES = ("httpx2", "httpx")


def _answer(failure_class: FailureClass, codes: str, why: str, exceptions: str = _REGISTRY) -> Rule:
    return Rule("confluent_kafka.schema_registry", tuple(exceptions.split()), failure_class, why, tuple(codes.split()))


def _transport(library: str) -> tuple[Rule, ...]:
    def rule(failure_class: FailureClass, names: str, why: str) -> Rule:
        return Rule(library, tuple(f"{library}.{name}" for name in names.split()), failure_class, why)

    return (
        rule(
            _TRANSIENT,
            "TransportError NetworkError ConnectError ReadError WriteError CloseError ProxyError ProtocolError "
            "RemoteProtocolError SSEError",
            "The connection was refused or broke; the server may be back for the next one.",
        ),
        rule(
            _TRANSIENT,
            "TimeoutException ConnectTimeout ReadTimeout WriteTimeout PoolTimeout",
            "No answer in time.",
        ),
        rule(_TRANSIENT, "RequestError HTTPError HTTPStatusError DecodingError", "No usable answer came."),
        rule(
            _FATAL,
            "InvalidURL UnsupportedProtocol TooManyRedirects LocalProtocolError CookieConflict",
            "The address cannot be used as it stands.",
        ),
        rule(
            _FATAL,
            "StreamError StreamClosed StreamConsumed RequestNotRead ResponseNotRead",
            "The library is used against its rules: a mistake in its caller.",
        ),
    )


RULES = (
    _answer(_PERMANENT, "40403", "No schema has this id: the message that names it cannot be read."),
    _answer(_FATAL, "409", "The schema is incompatible with those registered before; somebody must change one."),
    _answer(_FATAL, "401 403 407", "The registry does not accept the credentials.", f"{_REGISTRY} {_TOKEN}"),
    _answer(
        _TRANSIENT,
        "408 429 5xx",
        "The registry is busy, starting or without its leader.",
        f"{_REGISTRY} {_TOKEN}",
    ),
    _answer(
        _FATAL,
        "4xx",
        "The registry refuses the request itself: a wrong address, subject or schema.",
        f"{_REGISTRY} {_TOKEN}",
    ),
    _answer(_FATAL, "", "What answers at this address is not a Schema Registry."),
    _answer(_TRANSIENT, "", "The token server does not answer.", _TOKEN),
    *(rule for library in _HTTP_LIBRARIES for rule in _transport(library)),
)
