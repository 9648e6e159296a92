"""Errors of the Kafka client: every code that librdkafka knows, local ones (with an underscore) and the brokers'."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass
_LIBRARY = "confluent_kafka"
_KAFKA = "cimpl.KafkaException"


def _codes(failure_class: FailureClass, codes: str, why: str) -> Rule:
    return Rule(_LIBRARY, (_KAFKA,), failure_class, why, tuple(codes.split()))


def _kinds(failure_class: FailureClass, names: str, why: str) -> Rule:
    return Rule(_LIBRARY, tuple(names.split()), failure_class, why)


_TRANSIENT_CODES = (
    _codes(
        _TRANSIENT,
        "_TRANSPORT _ALL_BROKERS_DOWN _FAIL _RESOLVE _NODE_UPDATE _UNKNOWN_BROKER NETWORK_EXCEPTION "
        "REBOOTSTRAP_REQUIRED",
        "A connection is gone or was never made; the client makes a new one by itself.",
    ),
    _codes(
        _TRANSIENT,
        "_TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT REQUEST_TIMED_OUT _INTR",
        "No answer in time; the cluster may be slow or electing a leader.",
    ),
    _codes(
        _TRANSIENT,
        "LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REPLICA_NOT_AVAILABLE BROKER_NOT_AVAILABLE NOT_CONTROLLER "
        "FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE "
        "ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED STALE_CTRL_EPOCH STALE_BROKER_EPOCH LISTENER_NOT_FOUND "
        "KAFKA_STORAGE_ERROR UNKNOWN_CONTROLLER_ID",
        "Leadership moves between brokers; metadata read again names the new leader.",
    ),
    _codes(
        _TRANSIENT,
        "NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF",
        "Too few replicas are in step; those that fell behind catch up.",
    ),
    _codes(
        _TRANSIENT,
        "COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR _WAIT_COORD",
        "The group's coordinator moves or starts; the client looks for it again.",
    ),
    _codes(
        _TRANSIENT,
        "ILLEGAL_GENERATION UNKNOWN_MEMBER_ID REBALANCE_IN_PROGRESS MEMBER_ID_REQUIRED FENCED_MEMBER_EPOCH "
        "STALE_MEMBER_EPOCH UNSTABLE_OFFSET_COMMIT GROUP_SUBSCRIBED_TO_TOPIC UNRELEASED_INSTANCE_ID "
        "NON_EMPTY_GROUP _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED _ASSIGN_PARTITIONS _REVOKE_PARTITIONS _NO_OFFSET",
        "The group is being rearranged; this member joins again and starts at the table's offsets.",
    ),
    _codes(
        _TRANSIENT,
        "UNKNOWN_TOPIC_OR_PART UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID _UNKNOWN_TOPIC _UNKNOWN_PARTITION",
        "A topic that was just created is not known to every broker yet.",
    ),
    _codes(
        _TRANSIENT,
        "THROTTLING_QUOTA_EXCEEDED GROUP_MAX_SIZE_REACHED _QUEUE_FULL SHARE_SESSION_LIMIT_REACHED TELEMETRY_TOO_LARGE",
        "A limit is reached for now; waiting makes room.",
    ),
    _codes(
        _TRANSIENT,
        "FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH "
        "FENCED_STATE_EPOCH UNKNOWN_SUBSCRIPTION_ID",
        "The broker has forgotten a session; the client opens another.",
    ),
    _codes(
        _TRANSIENT,
        "_RETRY _IN_PROGRESS _PREV_IN_PROGRESS _WAIT_CACHE _OUTDATED _PARTIAL _NOOP CONCURRENT_TRANSACTIONS "
        "OPERATION_NOT_ATTEMPTED REASSIGNMENT_IN_PROGRESS NO_REASSIGNMENT_IN_PROGRESS TRANSACTION_COORDINATOR_FENCED "
        "TRANSACTION_ABORTABLE",
        "Something else is under way; asked again, it is done.",
    ),
    _codes(
        _TRANSIENT,
        "_PURGE_QUEUE _PURGE_INFLIGHT _DESTROY _DESTROY_BROKER",
        "The client was closed with messages under way; a new one sends them again.",
    ),
    _codes(
        _TRANSIENT,
        "_INVALID_DIFFERENT_RECORD",
        "Another record of the same request was refused; sent without it, this one passes.",
    ),
    _codes(_TRANSIENT, "_CRIT_SYS_RESOURCE _FS", "Memory, threads or files ran out; a fresh process has them again."),
    _codes(
        _TRANSIENT,
        "UNKNOWN DUPLICATE_SEQUENCE_NUMBER",
        "The broker itself cannot say what happened; a bounded number of retries decides.",
    ),
    _codes(_TRANSIENT, "NO_ERROR _PARTITION_EOF", "No failure; there is only nothing to read for now."),
)

_PERMANENT_CODES = (
    _codes(
        _PERMANENT,
        "MSG_SIZE_TOO_LARGE INVALID_MSG_SIZE RECORD_LIST_TOO_LARGE",
        "The message is larger than the topic takes, and does not shrink by being sent again.",
    ),
    _codes(
        _PERMANENT,
        "INVALID_MSG INVALID_RECORD _BAD_MSG _BAD_COMPRESSION _UNDERFLOW",
        "The message's bytes are not what they claim to be.",
    ),
    _codes(_PERMANENT, "INVALID_TIMESTAMP", "The record's time is outside what the topic takes: too old or too new."),
    _codes(
        _PERMANENT,
        "_KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION _VALUE_DESERIALIZATION",
        "The message cannot be put into its format or read from it.",
    ),
)

_FATAL_CODES = (
    _codes(_FATAL, "fatal _FATAL", "The client says that it cannot go on."),
    _codes(
        _FATAL,
        "_AUTHENTICATION SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED "
        "UNACCEPTABLE_CREDENTIAL DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_EXPIRED "
        "DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED INVALID_PRINCIPAL_TYPE "
        "PRINCIPAL_DESERIALIZATION_FAILURE",
        "The broker does not accept the credentials; sent again they are the same, and may lock the account.",
    ),
    _codes(_FATAL, "_SSL", "The encrypted connection is refused: certificate, host name or protocol do not match."),
    _codes(
        _FATAL,
        "TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED "
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED",
        "The right is missing, until somebody grants it.",
    ),
    _codes(
        _FATAL,
        "_FENCED FENCED_INSTANCE_ID PRODUCER_FENCED INVALID_PRODUCER_EPOCH",
        "A newer instance with the same identity has taken over; coming back would start a fight.",
    ),
    _codes(
        _FATAL,
        "OUT_OF_ORDER_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID INVALID_PRODUCER_ID_MAPPING _GAPLESS_GUARANTEE _INCONSISTENT",
        "The order of what was sent can no longer be guaranteed by this producer.",
    ),
    _codes(
        _FATAL,
        "OFFSET_OUT_OF_RANGE _AUTO_OFFSET_RESET _LOG_TRUNCATION",
        "The offset is not in the log: records are gone, and skipping them is not for us to decide.",
    ),
    _codes(
        _FATAL,
        "UNSUPPORTED_VERSION UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE _UNSUPPORTED_FEATURE "
        "UNSUPPORTED_ASSIGNOR UNSUPPORTED_ENDPOINT_TYPE MISMATCHED_ENDPOINT_TYPE _UNKNOWN_PROTOCOL "
        "INCONSISTENT_GROUP_PROTOCOL _NOT_IMPLEMENTED",
        "Broker and client, or two members of a group, do not speak the same version.",
    ),
    _codes(
        _FATAL,
        "_INVALID_ARG _NOT_CONFIGURED INVALID_CONFIG INVALID_GROUP_ID INVALID_SESSION_TIMEOUT INVALID_REQUIRED_ACKS "
        "INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_COMMIT_OFFSET_SIZE "
        "OFFSET_METADATA_TOO_LARGE INVALID_TRANSACTION_TIMEOUT INVALID_REGULAR_EXPRESSION TOPIC_EXCEPTION "
        "LOG_DIR_NOT_FOUND",
        "A setting has a value that cannot be used.",
    ),
    _codes(_FATAL, "POLICY_VIOLATION TOPIC_DELETION_DISABLED", "The cluster's policy forbids it, whoever asks again."),
    _codes(
        _FATAL,
        "INVALID_REQUEST INVALID_TXN_STATE _STATE _CONFLICT _EXISTING_SUBSCRIPTION _INVALID_TYPE _READ_ONLY _NOENT "
        "_APPLICATION _UNKNOWN_GROUP GROUP_ID_NOT_FOUND TOPIC_ALREADY_EXISTS RESOURCE_NOT_FOUND DUPLICATE_RESOURCE "
        "INVALID_RECORD_STATE STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED",
        "The client was asked for something that makes no sense: a mistake in K2.",
    ),
    _codes(
        _FATAL,
        "INVALID_REGISTRATION INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED INCONSISTENT_VOTER_SET INVALID_VOTER_KEY "
        "DUPLICATE_VOTER VOTER_NOT_FOUND",
        "Brokers use these among themselves; no client should ever see one.",
    ),
)

RULES = (
    *_TRANSIENT_CODES,
    *_PERMANENT_CODES,
    *_FATAL_CODES,
    _kinds(
        _FATAL,
        f"{_KAFKA} confluent_kafka.error._KafkaClientError confluent_kafka.error.ConsumeError "
        "confluent_kafka.error.ProduceError",
        "A code that nobody has classified yet; stopping is safer than guessing.",
    ),
    _kinds(
        _PERMANENT,
        "confluent_kafka.serialization.SerializationError confluent_kafka.error.KeyDeserializationError "
        "confluent_kafka.error.KeySerializationError confluent_kafka.error.ValueDeserializationError "
        "confluent_kafka.error.ValueSerializationError",
        "The message cannot be put into its format or read from it.",
    ),
    _kinds(
        _FATAL,
        "cimpl.ConcurrentModificationException cimpl.IllegalStateException",
        "The client is used from two threads or after its end: a mistake in K2.",
    ),
)
