"""The kinds of stacks a run can be on."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from conformance.stacks.base import NewStack
from conformance.stacks.embedded import EmbeddedStack
from k2.errors import UsageError

CONTAINERS = "containers"
EXTERNAL = "external"
KINDS = (EmbeddedStack.name, CONTAINERS, EXTERNAL)


@contextlib.contextmanager
def stacks_of(
    kind: str, directory: Path, addresses: Path | None = None, say: Callable[[str], None] = print
) -> Iterator[NewStack]:
    """Makes stacks of a kind; what they share is started here, and gone at the end.

    Args:
        kind: one of KINDS.
        directory: gets the logs of what is shared.
        addresses: settings file of the servers, for the external ones.
        say: told what is started and stopped, and what it took.

    Raises:
        UsageError: the file is missing or cannot be used.
    """
    if kind == EmbeddedStack.name:
        yield EmbeddedStack
    elif kind == CONTAINERS:
        # Not needed, nor always there, on a machine without an engine.
        from conformance.stacks.containers.services import open_services

        with open_services(directory, say) as services:
            yield services.stack
    elif kind == EXTERNAL:
        from conformance.stacks.external import ExternalServers

        if addresses is None:
            raise UsageError("the external stack needs --addresses: the settings.json of a platform's servers")
        yield ExternalServers(addresses).stack
    else:
        raise ValueError(f"{kind} is no kind of stack: choose one of {', '.join(KINDS)}")
