"""K2's own errors: what the consumer retries, and what stops it."""

from functools import partial

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass
_rule = partial(Rule.of_module, "k2", "k2.errors")

RULES = (
    _rule(
        _TRANSIENT,
        "UnavailableError PoolExhaustedError QueryTimeoutError",
        "A dependency did not answer in time; it may the next time.",
    ),
    _rule(_TRANSIENT, "CircuitOpenError", "A dependency is left alone for a while; afterwards it is asked again."),
    _rule(_TRANSIENT, "DeliveryError", "The broker did not acknowledge; sent again, the message may get through."),
    _rule(_TRANSIENT, "StaleWriterError", "Another writer was first; read again, the table says where to go on."),
    _rule(_PERMANENT, "RecordError SchemaError", "One record does not fit its schema, and never will."),
    _rule(_FATAL, "RefusedError", "A dependency answers and refuses; it will until a person changes something."),
    _rule(_FATAL, "AddressInUseError", "Another process listens there; which of the two must go is not for us to say."),
    _rule(_FATAL, "UsageError CaptureError", "What was given cannot be used, however often it is tried."),
    _rule(
        _FATAL,
        "ProgressError ForeignClusterError OffsetOutsideLogError PartitionCountChangedError TopicRecreatedError "
        "StateLostError",
        "Log and table disagree, and going on could lose or repeat records; a person must decide.",
    ),
    _rule(_FATAL, "AuditMismatchError", "The audit log does not tell what the table did; a person must find out why."),
    _rule(_FATAL, "OverloadedError", "This process is short of memory; a fresh one is not."),
    _rule(_FATAL, "RetriesExhaustedError", "Everything was tried already; this process ends and is started again."),
    _rule(_FATAL, "K2Error", "An error without a more exact name says nothing about a next attempt."),
)
