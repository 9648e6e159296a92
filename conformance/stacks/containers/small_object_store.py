"""An object store of its own with a small disk, which can be filled without harm to anybody else's."""

import socket
from dataclasses import replace

from conformance.stacks.containers.addresses import BUCKET
from conformance.stacks.containers.composition import LOOPBACK
from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.service_container import start_container, wait_until_healthy
from conformance.stacks.containers.services import ContainerServices

_LIKE, _DATA_OF_LIKE = "object-store", "/data"
# A folder that the image does not have: only then is the disk its user's to write.
_DATA, _FILLER = "/small", "/small/filler"


class SmallObjectStore:
    """Started by its making; `close` removes it, as the end of its run does.

    Args:
        services: of the run; it is a copy of their object store, with the same bucket and keys.
        size_bytes: of its disk, which is in memory.

    Raises:
        EngineError: the engine does not start it.
        ServiceError: it does not become well.
    """

    def __init__(self, services: ContainerServices, size_bytes: int) -> None:
        like = services.running[_LIKE].spec
        self._client = services.client
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        (inside,) = like.ports
        entrypoint = tuple(part.replace(_DATA_OF_LIKE, _DATA) for part in like.entrypoint or ())
        spec = replace(like, name=f"{_LIKE}-small", ports={inside: port}, entrypoint=entrypoint)
        options = {_DATA: f"size={size_bytes},mode=1777"}
        self._container = start_container(services.client.host, spec, None, services.labels, options)
        wait_until_healthy(self._client, self._container, spec, lambda: False)
        self.url = f"http://{LOOPBACK}:{port}"

    def fill(self) -> None:
        """Leave no byte free.

        Raises:
            ServiceError: there is room all the same.
        """
        self._run(f"cat /dev/zero > {_FILLER}; true")
        # What remains is less than the filler takes at once, and a file that begins needs a page of its own.
        if self._run(f"echo more > {_DATA}/{BUCKET}/more"):
            return
        raise ServiceError("the small object store takes another file although its disk was filled")

    def free(self) -> None:
        """Give back what was filled."""
        self._run(f"rm -f {_FILLER} {_DATA}/{BUCKET}/more")

    def close(self) -> None:
        """Remove it with all that is in it."""
        self._client.remove_container(self._container)

    def _run(self, command: str) -> int:
        return self._client.execute(self._container, "sh", "-c", command)[0]
