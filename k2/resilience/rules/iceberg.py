"""Errors of PyIceberg, and of Arrow beneath it."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass


def _iceberg(failure_class: FailureClass, names: str, why: str) -> Rule:
    return Rule("pyiceberg", tuple(f"pyiceberg.exceptions.{name}" for name in names.split()), failure_class, why)


def _arrow(failure_class: FailureClass, names: str, why: str) -> Rule:
    return Rule("pyarrow", tuple(f"pyarrow.lib.{name}" for name in names.split()), failure_class, why)


RULES = (
    _iceberg(_TRANSIENT, "CommitFailedException", "Another writer was first; the table is read again and decides."),
    _iceberg(
        _TRANSIENT,
        "CommitStateUnknownException",
        "The answer to a commit was cut off; the table, read again, says whether it holds.",
    ),
    _iceberg(
        _TRANSIENT,
        "WaitingForLockException ConditionalCheckFailedException NoSuchPlanTaskError",
        "Another client holds the table for now.",
    ),
    _iceberg(
        _TRANSIENT,
        "TableAlreadyExistsError NamespaceAlreadyExistsError ViewAlreadyExistsError",
        "Another process made it first; asked again, it is found.",
    ),
    _iceberg(
        _TRANSIENT,
        "ServiceUnavailableError ServerError TooManyRequestsError RESTError DynamoDbError GenericDynamoDbError",
        "The catalog's server is busy, starting or broken for now.",
    ),
    _iceberg(
        _TRANSIENT,
        "AuthorizationExpiredError SignError",
        "A token has run out; another is fetched for the next request.",
    ),
    _iceberg(
        _FATAL,
        "UnauthorizedError ForbiddenError OAuthError",
        "The catalog does not accept the credentials, or they lack the right.",
    ),
    _iceberg(
        _FATAL,
        "NoSuchTableError NoSuchIcebergTableError NoSuchNamespaceError NoSuchViewError NoSuchIdentifierError "
        "NoSuchPropertyException",
        "What was asked for is not in the catalog: it was never created, or the address is another catalog's.",
    ),
    _iceberg(
        _FATAL,
        "ValidationException ResolveError NamespaceNotEmptyError BadRequestError",
        "The table's schema or state does not allow it; somebody must change one.",
    ),
    _iceberg(_FATAL, "ValidationError", "The table's metadata file is damaged, or is none."),
    _iceberg(_FATAL, "NotInstalledError", "A driver that the settings ask for is not installed."),
    _arrow(_TRANSIENT, "ArrowMemoryError", "Memory ran out; a fresh process begins with more of it."),
    _arrow(_FATAL, "ArrowCapacityError", "A batch is larger than an array can be; consumer.batch_rows must be less."),
    _arrow(
        _FATAL,
        "ArrowInvalid ArrowTypeError ArrowKeyError ArrowIndexError ArrowNotImplementedError ArrowSerializationError "
        "ArrowException",
        "A file or a column is not what it must be; bad records were set aside before it came to this.",
    ),
    _arrow(_FATAL, "ArrowCancelled", "The process was told to stop."),
)
