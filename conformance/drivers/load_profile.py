"""Load profiles: what is run and judged by which thresholds, kept as data in load/profiles."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from k2.errors import UsageError

FOLDER = Path(__file__).resolve().parents[2] / "load" / "profiles"
SMOKE, FULL = "smoke", "full"
_KEYS = {"title", "runs_in", "claims", "records", "minimum_samples", "run", "threshold"}


@dataclass(frozen=True, slots=True)
class Phase:
    """A time of constant load.

    Attributes:
        name: as thresholds name it.
        seconds: how long.
        requests_per_second: of all users together, come what may; 0: each asks again as soon as it is answered.
    """

    name: str
    seconds: float
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class Run:
    """Phases one after the other against one API.

    Attributes:
        users: so many of each class of load/locustfile.py.
        phases: in order.
        environment: settings of the API, as environment variables.
    """

    users: Mapping[str, int]
    phases: tuple[Phase, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long all phases take."""
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is run.

    Attributes:
        name: of its file.
        title: one sentence.
        runs_in: "smoke": whenever clauses run; "full": with PROFILE=full only.
        claims: ids of conformance/requirements.toml.
        records: trades that are there to be asked for.
        minimum_samples: requests; fewer are unknown.
        runs: one after the other.
        thresholds: as conformance.checkers.load reads them.
    """

    name: str
    title: str
    runs_in: str
    claims: tuple[str, ...]
    records: int
    minimum_samples: int
    runs: tuple[Run, ...]
    thresholds: Sequence[Mapping[str, Any]]

    def plan(self) -> dict[str, Any]:
        """What the checker needs to know of it: parameters of the history."""
        phases = [
            {"name": phase.name, "seconds": phase.seconds, "requests_per_second": phase.requests_per_second}
            for run in self.runs
            for phase in run.phases
        ]
        return {"phases": phases, "thresholds": [dict(threshold) for threshold in self.thresholds]}


def read_profile(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        UsageError: the file is not there or cannot be used.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"load profile {path}: {error}; there are {', '.join(names())}") from error
    try:
        if unknown := sorted(set(values) - _KEYS):
            raise ValueError(f"{unknown[0]} is not known")
        profile = Profile(
            name=path.stem,
            title=values["title"],
            runs_in=values["runs_in"],
            claims=tuple(values["claims"]),
            records=int(values["records"]),
            minimum_samples=int(values["minimum_samples"]),
            runs=tuple(_run(run) for run in values["run"]),
            thresholds=values["threshold"],
        )
        _refuse_thresholds_without_phase(profile)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"load profile {path}: {what}") from error
    return profile


def read_all(folder: Path = FOLDER) -> tuple[Profile, ...]:
    """Every profile there is, by name."""
    return tuple(read_profile(folder / f"{name}.toml") for name in names(folder))


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all profiles."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def _run(values: Mapping[str, Any]) -> Run:
    phases = tuple(
        Phase(str(one["name"]), float(one["seconds"]), float(one["requests_per_second"])) for one in values["phases"]
    )
    return Run({name: int(count) for name, count in values["users"].items()}, phases, values.get("environment", {}))


def _refuse_thresholds_without_phase(profile: Profile) -> None:
    phases = [phase.name for run in profile.runs for phase in run.phases]
    if len(set(phases)) < len(phases):
        raise ValueError("two phases have the same name")
    for threshold in profile.thresholds:
        for phase in [*threshold["phases"], *threshold.get("compared_with", ())]:
            if phase not in phases:
                raise ValueError(f"a threshold names the phase {phase!r}, which there is not")
        if not {"at_most", "at_least"} & set(threshold) or int(threshold["minimum_samples"]) < 1:
            raise ValueError(f"the threshold of {threshold['measure']} has no bound, or no minimum_samples")
