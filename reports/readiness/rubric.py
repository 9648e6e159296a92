"""What each requirement is worth, and when that is enough: rubric.toml."""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from reports.readiness.errors import RulerError
from reports.readiness.parsing import read_toml
from reports.readiness.registry import Registry

TOTAL_POINTS = Decimal(100)
_NO_OTHER_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the way to 100 points.

    Attributes:
        id: "P0" to "P4", then "beyond".
        title: what it is about.
        points: the sum of its criteria's weights.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    id: str
    title: str
    points: Decimal


@dataclass(frozen=True, slots=True)
class Criterion:
    """The worth of one requirement.

    Attributes:
        stage: id of the stage it belongs to.
        weight: points when every claim is proven.
        minimum_samples: claim id -> fewest samples of a pass that proves it; 1 where nothing is said.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    stage: str
    weight: Decimal
    minimum_samples: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gate:
    """Points a release needs."""

    __pydantic_config__ = _NO_OTHER_KEYS

    minimum: Decimal


@dataclass(frozen=True, slots=True)
class Rubric:
    """The whole ruler. Weights add up to the points of their stage, stages to 100."""

    __pydantic_config__ = _NO_OTHER_KEYS

    version: str
    gate: Gate
    stage: tuple[Stage, ...]
    criteria: dict[str, Criterion]

    def __post_init__(self) -> None:
        if sum(stage.points for stage in self.stage) != TOTAL_POINTS:
            raise ValueError(f"the stages do not add up to {TOTAL_POINTS} points")
        if not 0 <= self.gate.minimum <= TOTAL_POINTS:
            raise ValueError(f"gate.minimum is {self.gate.minimum}, it lies between 0 and {TOTAL_POINTS}")
        sums = dict.fromkeys((stage.id for stage in self.stage), Decimal(0))
        for identifier, criterion in self.criteria.items():
            if criterion.stage not in sums:
                raise ValueError(f"{identifier} is in the stage {criterion.stage}, which is not declared")
            if criterion.weight <= 0:
                raise ValueError(f"{identifier} weighs {criterion.weight}, a weight is more than 0")
            sums[criterion.stage] += criterion.weight
        for stage in self.stage:
            if sums[stage.id] != stage.points:
                raise ValueError(f"the weights of {stage.id} add up to {sums[stage.id]}, not {stage.points}")

    def thresholds(self) -> tuple[tuple[Stage, Decimal], ...]:
        """Each stage with the score that reaches it."""
        return tuple(zip(self.stage, accumulate(stage.points for stage in self.stage), strict=True))


_ADAPTER = TypeAdapter(Rubric)


def load_rubric(path: Path, registry: Registry) -> Rubric:
    """The rubric in a file, with exactly one criterion for each requirement of the registry.

    Raises:
        RulerError: the file is missing or malformed, or it and the registry speak of different ids.
    """
    rubric = read_toml(path, _ADAPTER)
    promised = {requirement.id for requirement in registry.requirement}
    for identifier in sorted(promised ^ rubric.criteria.keys()):
        where = "a requirement without a criterion" if identifier in promised else "a criterion without a requirement"
        raise RulerError(f"{path}: {identifier} is {where}")
    for identifier, criterion in rubric.criteria.items():
        for claim, samples in criterion.minimum_samples.items():
            requirement = registry.requirement_of(claim)
            if requirement is None or requirement.id != identifier or claim == identifier:
                raise RulerError(f"{path}: minimum_samples of {identifier} names {claim}, which is not a claim of it")
            if samples < 1:
                raise RulerError(f"{path}: minimum_samples of {claim} is {samples}, it is at least 1")
    return rubric
