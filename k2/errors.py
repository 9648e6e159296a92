"""The one error tree of the platform, and the exit code of each branch.

    K2Error                          exit 1
    |- UsageError                    exit 64   an option, a file or a value the user gave cannot be used
    |  |- CaptureError                         a file of a feed cannot be read (empty, truncated, another format)
    |- RecordError                   exit 65   a record cannot be represented exactly
    |  |- SchemaError                          a schema is unknown or cannot be decoded into our columns
    |- UnavailableError              exit 69   a dependency does not answer (broker, registry, catalog, port)
    |  |- AddressInUseError
    |  |- PoolExhaustedError                   no query connection became free in time
    |  |- CircuitOpenError                     a dependency failed several times and is left alone for a while
    |- QueryTimeoutError             exit 70   a query was stopped at its time limit
    |- DeliveryError                 exit 74   the broker did not acknowledge
    |- RetriesExhaustedError         exit 75   try again later: nothing was committed
    |- OverloadedError               exit 75   the process ran short and stopped between two batches
    |- ProgressError                 exit 76   the log and the table disagree; a person must decide
    |  |- ForeignClusterError
    |  |- OffsetOutsideLogError
    |  |- PartitionCountChangedError
    |  |- TopicRecreatedError
    |  |- StateLostError                       a state checkpoint is gone or was altered
    |- AuditMismatchError            exit 76   the audit log does not tell the table's history; a person must look
    |- StaleWriterError              exit 77   another writer committed this range first; nothing was written
    |- RefusedError                  exit 78   a dependency answers and refuses: credentials, rights, configuration

Exit codes follow sysexits.h where it has one. A third party's exception is wrapped at the one package that talks to
that third party and never travels further.
"""


class K2Error(Exception):
    """Base of every error the platform raises on purpose. The message is one line: what, where, remedy."""

    exit_code = 1


class UsageError(K2Error):
    """Something the user gave cannot be used."""

    exit_code = 64


class CaptureError(UsageError):
    """A file of a feed (capture, CSV, ticks) cannot be read; the message names the file and the line."""


class RecordError(K2Error):
    """A record cannot be represented exactly in its schema."""

    exit_code = 65


class SchemaError(RecordError):
    """A schema id is unknown, or a schema cannot be decoded into our columns."""


class UnavailableError(K2Error):
    """A dependency does not answer."""

    exit_code = 69


class AddressInUseError(UnavailableError):
    """The address to listen on is taken."""


class PoolExhaustedError(UnavailableError, TimeoutError):
    """No query connection became free in time."""


class CircuitOpenError(UnavailableError):
    """A dependency failed several times in a row, so it was not even asked.

    Attributes:
        dependency: its name.
        retry_after_seconds: how long it will be left alone from now on.
    """

    def __init__(self, dependency: str, retry_after_seconds: float) -> None:
        super().__init__(
            f"{dependency} has failed several times in a row and is left alone: it is tried again in "
            f"{retry_after_seconds:.1f} s"
        )
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds


class QueryTimeoutError(K2Error):
    """A query was interrupted at its time limit."""

    exit_code = 70


class DeliveryError(K2Error):
    """The broker did not acknowledge a message in time, or refused it."""

    exit_code = 74


class RetriesExhaustedError(K2Error):
    """A transient failure outlasted every retry; nothing was committed, starting again is safe."""

    exit_code = 75


class OverloadedError(K2Error):
    """This process ran short of what it needs and stopped before it came to harm; starting again is safe."""

    exit_code = 75


class ProgressError(K2Error):
    """The log and the table disagree about progress in a way that must not be guessed away."""

    exit_code = 76


class ForeignClusterError(ProgressError):
    """The table's progress belongs to another Kafka cluster."""


class OffsetOutsideLogError(ProgressError):
    """The offset the table asks for is not in the log any more, or not yet."""


class PartitionCountChangedError(ProgressError):
    """The topic has another number of partitions than the table's progress knows."""


class TopicRecreatedError(ProgressError):
    """The topic was deleted and made anew, so its offsets mean other messages than the table's progress does."""


class StateLostError(ProgressError):
    """The sequence state that belongs to the table's progress is gone, or is not what was written."""


class AuditMismatchError(K2Error):
    """The audit log and the table's own history disagree."""

    exit_code = 76


class StaleWriterError(K2Error):
    """Another writer committed this range first; this writer's batch was discarded."""

    exit_code = 77


class RefusedError(K2Error):
    """A dependency answers and refuses, until a person changes something: credentials, rights, configuration."""

    exit_code = 78
