"""Errors of the Redis client. Redis is a cache here: none of them stops anything, they decide what a breaker counts."""

from functools import partial

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _, _FATAL = FailureClass
_rule = partial(Rule.of_module, "redis", "redis.exceptions")

RULES = (
    _rule(
        _TRANSIENT,
        "ConnectionError MaxConnectionsError",
        "The connection was refused or broke; the server may be back for the next one.",
    ),
    _rule(_TRANSIENT, "TimeoutError", "No answer in time."),
    _rule(
        _TRANSIENT,
        "BusyLoadingError TryAgainError ClusterDownError MasterDownError ClusterError SlotNotCoveredError",
        "The server is starting, or its cluster is without a part of it.",
    ),
    _rule(_TRANSIENT, "InvalidResponse", "No usable answer came."),
    _rule(
        _FATAL,
        "AuthenticationError AuthenticationWrongNumberOfArgsError AuthorizationError ExternalAuthProviderError "
        "NoPermissionError",
        "Redis does not accept the credentials, or they do not allow this.",
    ),
    _rule(
        _FATAL,
        "OutOfMemoryError ReadOnlyError",
        "The server takes nothing: it is full, or a replica that may only be read.",
    ),
    _rule(
        _FATAL,
        "ResponseError ExecAbortError NoScriptError NoSuchFieldsetError ModuleError AskError MovedError "
        "ClusterCrossSlotError",
        "Redis refuses the request itself.",
    ),
    _rule(
        _FATAL,
        "RedisError DataError PubSubError WatchError LockError LockNotOwnedError ChildDeadlockedError "
        "RedisClusterException CrossSlotTransactionError InvalidPipelineStack IncorrectPolicyType",
        "The library is used against its rules: a mistake in its caller.",
    ),
)
