"""Errors of SQLAlchemy and of the database behind the catalog: SQLite by its own names, others by SQLSTATE."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass
_DATABASE = "sqlalchemy.exc.DBAPIError"


def _codes(failure_class: FailureClass, codes: str, why: str) -> Rule:
    return Rule("sqlalchemy", (_DATABASE,), failure_class, why, tuple(codes.split()))


def _kinds(failure_class: FailureClass, names: str, why: str, module: str = "sqlalchemy.exc") -> Rule:
    return Rule("sqlalchemy", tuple(f"{module}.{name}" for name in names.split()), failure_class, why)


_SQLITE = (
    _codes(_TRANSIENT, "SQLITE_BUSY SQLITE_LOCKED SQLITE_PROTOCOL", "Another process is writing to the catalog."),
    _codes(
        _TRANSIENT,
        "SQLITE_CANTOPEN SQLITE_READONLY_DBMOVED",
        "The catalog's file is not where it was: a folder or mount is away for now.",
    ),
    _codes(_TRANSIENT, "SQLITE_IOERR", "The disk failed one access; retries decide whether it fails the next."),
    _codes(_TRANSIENT, "SQLITE_FULL", "The disk is full; nothing is written until somebody or retention makes room."),
    _codes(
        _TRANSIENT,
        "SQLITE_NOMEM SQLITE_INTERRUPT SQLITE_ABORT SQLITE_SCHEMA",
        "The statement was given up half-way; it can be repeated.",
    ),
    _codes(_FATAL, "SQLITE_READONLY SQLITE_PERM SQLITE_AUTH", "The right to write the catalog's file is missing."),
    _codes(
        _FATAL,
        "SQLITE_NOTADB SQLITE_CORRUPT SQLITE_FORMAT",
        "The catalog's file is damaged or no database; it must be restored.",
    ),
    _codes(
        _FATAL,
        "SQLITE_ERROR SQLITE_MISMATCH SQLITE_MISUSE SQLITE_RANGE SQLITE_TOOBIG",
        "The database does not have the catalog's tables, or K2 asks for them wrongly.",
    ),
)

_SQLSTATE = (
    _codes(_TRANSIENT, "connection_invalidated 08", "The connection to the database is gone; the next one is new."),
    _codes(_TRANSIENT, "40 55P03", "Two transactions were in each other's way; the one that lost is repeated."),
    _codes(
        _TRANSIENT,
        "53 57P01 57P02 57P03 57014",
        "The database is starting, stopping or short of resources.",
    ),
    _codes(_TRANSIENT, "25006", "The database is a standby for now; after a switch-over the next connection is not."),
    _codes(_TRANSIENT, "58", "The database's own disk failed one access."),
    _codes(_FATAL, "28", "The database does not accept user or password."),
    _codes(_FATAL, "42501", "The right to the catalog's tables is missing."),
    _codes(_FATAL, "3D000 3F000 42P01 42703", "This database does not have the catalog's tables."),
    _codes(_FATAL, "XX001 XX002", "The database says that its files are damaged."),
)

RULES = (
    *_SQLITE,
    *_SQLSTATE,
    _kinds(
        _TRANSIENT,
        "OperationalError InterfaceError InternalError DBAPIError DatabaseError",
        "The database failed without saying more; a bounded number of retries decides.",
    ),
    _kinds(_TRANSIENT, "IntegrityError", "Another process wrote the same row first; read again, it is there."),
    _kinds(
        _TRANSIENT,
        "TimeoutError DisconnectionError InvalidatePoolError",
        "No connection to the database became free, or the one there was is lost.",
    ),
    _kinds(
        _FATAL,
        "ProgrammingError DataError NotSupportedError",
        "The database understood the statement and refuses it: a wrong database, or a mistake in K2.",
    ),
    _kinds(
        _FATAL,
        "ArgumentError NoSuchModuleError NoDBAPILoaded",
        "The catalog's address cannot be used, or its driver is not installed.",
    ),
    _kinds(
        _FATAL,
        "SQLAlchemyError StatementError InvalidRequestError CompileError UnsupportedCompilationError IdentifierError "
        "AmbiguousColumnError AmbiguousForeignKeysError AwaitRequired CircularDependencyError "
        "ConstraintColumnNotFoundError DuplicateColumnError EmulatedDBAPIException IllegalStateChangeError "
        "MissingGreenlet MultipleResultsFound NoForeignKeysError NoInspectionAvailable NoReferenceError "
        "NoReferencedColumnError NoReferencedTableError NoResultFound NoSuchColumnError NoSuchTableError "
        "ObjectNotExecutableError PendingRollbackError ResourceClosedError UnboundExecutionError "
        "UnreflectableTableError",
        "The library is used against its rules: a mistake in its caller.",
    ),
    _kinds(
        _FATAL,
        "DetachedInstanceError FlushError LoaderStrategyException MappedAnnotationError ObjectDeletedError "
        "ObjectDereferencedError UnmappedClassError UnmappedColumnError UnmappedError UnmappedInstanceError",
        "The library is used against its rules: a mistake in its caller.",
        "sqlalchemy.orm.exc",
    ),
    _kinds(_TRANSIENT, "StaleDataError", "Another process changed the row first.", "sqlalchemy.orm.exc"),
)
