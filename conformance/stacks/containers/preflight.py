"""Whether an engine suits: pure functions of facts about it. A refusal is one line with its remedy."""

from dataclasses import dataclass

GIBIBYTE = 1024**3


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says of itself; None where it cannot be known, for an engine on another machine.

    Attributes:
        version: of the engine, "20.10.24+dfsg1".
        api_version: "1.41".
        operating_system: of its containers, "linux".
        memory_bytes: of its machine.
        available_memory_bytes: what new processes may take without swapping.
        data_directory: where it keeps images and containers.
        free_disk_bytes: there.
    """

    version: str
    api_version: str
    operating_system: str
    memory_bytes: int
    available_memory_bytes: int | None
    data_directory: str
    free_disk_bytes: int | None


@dataclass(frozen=True, slots=True)
class Needs:
    """The least that something can be done with.

    Attributes:
        what: it is, for the message.
        api_version: 1.41 is that of Docker 20.10.
    """

    what: str
    memory_bytes: int
    free_disk_bytes: int
    api_version: str = "1.41"


TO_USE = Needs("to use it at all", memory_bytes=0, free_disk_bytes=0)
TO_BUILD = Needs("to build images", memory_bytes=2 * GIBIBYTE, free_disk_bytes=8 * GIBIBYTE)
TO_RUN = Needs("to run the container stack", memory_bytes=6 * GIBIBYTE, free_disk_bytes=4 * GIBIBYTE)


def refusals(facts: EngineFacts, needs: Needs) -> tuple[str, ...]:
    """Why the engine does not do, a line each; none if it does. What is not known is not held against it."""
    found = []
    if version_numbers(facts.api_version) < version_numbers(needs.api_version):
        found.append(
            f"Docker engine {facts.version} speaks API {facts.api_version}, {needs.api_version} is needed: "
            "install version 20.10 or newer"
        )
    if facts.operating_system != "linux":
        found.append(f"the engine runs {facts.operating_system} containers: switch it to Linux containers")
    memory_bytes = facts.memory_bytes if facts.available_memory_bytes is None else facts.available_memory_bytes
    if memory_bytes < needs.memory_bytes:
        found.append(
            f"{_gibibytes(memory_bytes)} GiB of memory free, {_gibibytes(needs.memory_bytes)} GiB needed {needs.what}: "
            "end other programs, or give the engine's machine more"
        )
    if facts.free_disk_bytes is not None and facts.free_disk_bytes < needs.free_disk_bytes:
        found.append(
            f"{_gibibytes(facts.free_disk_bytes)} GiB of disk free at {facts.data_directory}, "
            f"{_gibibytes(needs.free_disk_bytes)} GiB needed {needs.what}: free some, "
            "`python -m conformance images --prune` removes images no longer used"
        )
    return tuple(found)


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a dotted version, for comparison: "1.41" is (1, 41)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _gibibytes(count: int) -> str:
    return f"{count / GIBIBYTE:.1f}"
