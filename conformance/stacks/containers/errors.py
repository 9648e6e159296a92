"""What can go wrong before a container runs, and the exit code of each.

    ContainersError
    |- EngineError       exit 69   no engine, one that does not answer or does not suit, or no room for what is needed
    |  |- EngineRefusedError        there is one, and we may not use it
    |  |- PortTakenError            something else listens on a port that is to be published
    |- ImageError        exit 3    an image could neither be pulled nor built
    |- ServiceError      exit 3    a server did not start, ended, or does not do what it is told
    |- CatalogueError    exit 64   a file below deploy/, or a name or variable that was given, cannot be used

The message is one line: what, where, remedy.
"""


class ContainersError(Exception):
    """Base of these errors."""

    exit_code = 3


class EngineError(ContainersError):
    """There is no engine to be had, or not one that suits."""

    exit_code = 69


class EngineRefusedError(EngineError):
    """There is an engine, and we may not use it."""


class PortTakenError(EngineError):
    """Something else listens on a port that a service is to be published on."""


class ImageError(ContainersError):
    """An image could neither be pulled nor built.

    Attributes:
        tail: the last lines of what the build said; empty if it is not known.
    """

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail


class CatalogueError(ContainersError):
    """What is to be built is not described in a way that can be used."""

    exit_code = 64


class ServiceError(ContainersError):
    """A server did not start, ended, or does not do what it is told."""
