"""The form of the statements about errors: which error, which class, and why."""

from dataclasses import dataclass
from enum import Enum
from typing import Self


class FailureClass(Enum):
    """What is to be done about a failure."""

    TRANSIENT = "transient"
    """The same request may succeed later: retry with waits; exhausted, exit 75 and be started again."""
    PERMANENT = "permanent"
    """One record is at fault: it goes to the dead letters, the work goes on without it."""
    FATAL = "fatal"
    """Trying again here cannot help, and no single record is at fault: stop at once, with the error's exit code."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One statement, about one or several errors of a library.

    Attributes:
        library: whose errors these are.
        exceptions: qualified names; strings, because each third party may be imported in its own package only.
        failure_class: what they mean.
        why: one sentence.
        codes: only with one of these codes (Kafka's error name, HTTP status, SQLSTATE or its first two characters,
            SQLite's name or its beginning, errno's name, the object store's after "S3_"); empty: whatever the code.
    """

    library: str
    exceptions: tuple[str, ...]
    failure_class: FailureClass
    why: str
    codes: tuple[str, ...] = ()

    @classmethod
    def of_module(cls, library: str, module: str, failure_class: FailureClass, names: str, why: str) -> Self:
        """A statement about exceptions of one module, their names with blanks between them, whatever the code."""
        return cls(library, tuple(f"{module}.{name}" for name in names.split()), failure_class, why)
