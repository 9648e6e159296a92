"""What is put up with for a while: waivers.toml. A waiver never earns a point.

An active waiver keeps a claim that failed or is unknown from deciding the gate, and caps the score for as long as it
lasts, also when the claim is proven meanwhile. One that has expired fails the gate until it is renewed or removed.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from reports.readiness.errors import RulerError
from reports.readiness.parsing import read_toml
from reports.readiness.registry import Registry

LONGEST_DAYS = 90


@dataclass(frozen=True, slots=True)
class Waiver:
    """A claim that may stay unproven for a while.

    Attributes:
        claim: its id.
        owner: who answers for it, a person or a team.
        reason: why, in one sentence.
        granted: first day.
        expires: last day, at most LONGEST_DAYS after the first.
        cap: the most points the score can show while the waiver is there.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    claim: str
    owner: str
    reason: str
    granted: date
    expires: date
    cap: Decimal

    def __post_init__(self) -> None:
        if not self.owner.strip() or not self.reason.strip():
            raise ValueError(f"the waiver of {self.claim} has no owner or no reason")
        if not 0 <= (self.expires - self.granted).days <= LONGEST_DAYS:
            raise ValueError(
                f"the waiver of {self.claim} lasts from {self.granted} to {self.expires}; "
                f"a waiver lasts 0 to {LONGEST_DAYS} days"
            )
        if not 0 <= self.cap < 100:
            raise ValueError(f"the waiver of {self.claim} caps at {self.cap}, a cap is below 100 points")

    def expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return today > self.expires


@dataclass(frozen=True, slots=True)
class _File:
    __pydantic_config__ = ConfigDict(extra="forbid")

    waiver: tuple[Waiver, ...] = ()


_ADAPTER = TypeAdapter(_File)


def load_waivers(path: Path, registry: Registry) -> tuple[Waiver, ...]:
    """The waivers in a file; none where there is no file.

    Raises:
        RulerError: the file is malformed, or names a claim that is not registered, or one twice.
    """
    if not path.exists():
        return ()
    waivers = read_toml(path, _ADAPTER).waiver
    known = {claim.id for claim in registry.claims()}
    seen: set[str] = set()
    for waiver in waivers:
        if waiver.claim not in known:
            raise RulerError(f"{path}: {waiver.claim} is no claim of the registry")
        if waiver.claim in seen:
            raise RulerError(f"{path}: {waiver.claim} is waived twice")
        seen.add(waiver.claim)
    return waivers


def waived_points(points: Fraction, waivers: tuple[Waiver, ...]) -> Fraction:
    """The points that count while these waivers are there: never more than without them."""
    return min([points, *(Fraction(waiver.cap) for waiver in waivers)])
