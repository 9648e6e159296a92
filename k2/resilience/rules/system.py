"""Errors of the operating system, as files and sockets report them by errno's name, and of Python itself."""

from k2.resilience.rule import FailureClass, Rule

_TRANSIENT, _PERMANENT, _FATAL = FailureClass


def _codes(failure_class: FailureClass, codes: str, why: str) -> Rule:
    return Rule("operating system", ("OSError",), failure_class, why, tuple(codes.split()))


RULES = (
    _codes(
        _TRANSIENT,
        "ENOSPC EDQUOT",
        "The disk is full; nothing is written until somebody or retention makes room, and then all goes on by itself.",
    ),
    _codes(_TRANSIENT, "EIO ENXIO ENODEV", "The device failed one access; retries decide whether it fails the next."),
    _codes(
        _TRANSIENT,
        "ENOENT ENOTDIR ESTALE ENOTCONN EHOSTDOWN",
        "A folder is not where it was: a mount is away or being replaced.",
    ),
    _codes(
        _TRANSIENT,
        "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ENETUNREACH ENETDOWN ENETRESET EHOSTUNREACH ETIMEDOUT ESHUTDOWN",
        "The other side of a connection is away for now.",
    ),
    _codes(_TRANSIENT, "EAGAIN EWOULDBLOCK EINTR EBUSY ETXTBSY EDEADLK ENOLCK", "Somebody else holds it for now."),
    _codes(_TRANSIENT, "EMFILE ENFILE ENOMEM ENOBUFS", "Files or memory ran out; a fresh process begins with none."),
    _codes(_FATAL, "EACCES EPERM", "The right is missing, until somebody grants it."),
    _codes(_FATAL, "EROFS", "The file system is mounted for reading only."),
    _codes(
        _FATAL,
        "EISDIR ENAMETOOLONG ELOOP EINVAL EXDEV EMLINK ENOTSUP EOPNOTSUPP ENOSYS",
        "The path cannot be used as it stands, or the file system cannot do what is asked.",
    ),
    _codes(_FATAL, "EFBIG EOVERFLOW", "A file is larger than the file system takes."),
    _codes(_FATAL, "EADDRINUSE EADDRNOTAVAIL", "The address to listen on is taken or not this machine's."),
    _codes(_TRANSIENT, "", "The store failed without a number that says how; a bounded number of retries decides."),
    Rule("python", ("MemoryError",), _TRANSIENT, "Memory ran out; a fresh process begins with more of it."),
    Rule(
        "python",
        ("json.decoder.JSONDecodeError", "UnicodeDecodeError"),
        _FATAL,
        "What came is no JSON or no text: something else answers at this address, or the file is damaged.",
    ),
)
