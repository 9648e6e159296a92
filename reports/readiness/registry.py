"""What is promised: requirements and their claims, from conformance/requirements.toml."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from reports.readiness.errors import RulerError
from reports.readiness.parsing import read_toml

_NO_OTHER_KEYS = ConfigDict(extra="forbid")


class Stack(StrEnum):
    """Where clauses run, from the weakest evidence to the strongest."""

    EMBEDDED = "embedded"
    CONTAINERS = "containers"
    EXTERNAL = "external"


class Need(StrEnum):
    """The weakest stack that can prove a claim."""

    ANY = "any"
    CONTAINERS = "containers"
    EXTERNAL = "external"

    def met_by(self, stack: Stack) -> bool:
        """Whether a pass on that stack can prove the claim."""
        return list(Need).index(self) <= list(Stack).index(stack)


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that a clause can prove or refute."""

    __pydantic_config__ = _NO_OTHER_KEYS

    id: str
    needs: Need
    text: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """A normative text and the claims it is made of."""

    __pydantic_config__ = _NO_OTHER_KEYS

    id: str
    area: str
    title: str
    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Registry:
    """All requirements, in the order of the file. Ids are unique, and each claim's id extends its requirement's."""

    __pydantic_config__ = _NO_OTHER_KEYS

    requirement: tuple[Requirement, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for requirement in self.requirement:
            if not requirement.claims:
                raise ValueError(f"{requirement.id} has no claim")
            for identifier in (requirement.id, *(claim.id for claim in requirement.claims)):
                if identifier in seen:
                    raise ValueError(f"{identifier} is there twice")
                if identifier.rstrip("abcdefghijklmnopqrstuvwxyz") != requirement.id:
                    raise ValueError(f"{identifier} is not a claim of {requirement.id}")
                seen.add(identifier)

    def claims(self) -> Iterator[Claim]:
        """Every claim, in the order of the file."""
        for requirement in self.requirement:
            yield from requirement.claims

    def requirement_of(self, identifier: str) -> Requirement | None:
        """The requirement with that id or with a claim of that id; None if there is none."""
        for requirement in self.requirement:
            if identifier == requirement.id or any(identifier == claim.id for claim in requirement.claims):
                return requirement
        return None

    def identifiers(self) -> tuple[str, ...]:
        """Ids of all requirements and claims."""
        return tuple(
            identifier
            for requirement in self.requirement
            for identifier in (requirement.id, *(claim.id for claim in requirement.claims))
        )


_ADAPTER = TypeAdapter(Registry)


def load_registry(path: Path) -> Registry:
    """The registry in a file.

    Raises:
        RulerError: the file is missing or malformed, or an id is there twice.
    """
    registry = read_toml(path, _ADAPTER)
    if not registry.requirement:
        raise RulerError(f"{path} holds no requirement")
    return registry
