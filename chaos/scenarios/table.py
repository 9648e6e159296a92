"""Reads the table of scenarios: workloads, faults and timings by name, and the rows that put them together."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k2.errors import UsageError

TABLE = Path(__file__).with_name("scenarios.toml")
BASELINE = "baseline"
PROFILES = ("smoke", "standard", "soak")
ALL, SOME, NOTHING = "all", "some", "nothing"
_DEFAULT_RECOVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What runs while the faults come.

    Attributes:
        records_per_second: sent by the feed.
        callers: what else is called again and again: "register" (the schema registry), "query" (the API).
        uses_redis: whether consumers keep state checkpoints in Redis too.
        records: a run without faults ends when so many were acknowledged since its warm-up.
    """

    records_per_second: int
    callers: tuple[str, ...] = ()
    uses_redis: bool = False
    records: int = 900

    @property
    def activities(self) -> tuple[str, ...]:
        """Everything that can go on or not."""
        return ("produce", "commit", *self.callers)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A kind of fault and its parameters; one that is a list stands for any of its values."""

    kind: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timing:
    """When a fault comes, and for how long; both are drawn from between two numbers.

    Attributes:
        counter: what is counted, see chaos.schedule.
        at: fewest and most that are counted since the warm-up, or since the fault before.
        seconds: shortest and longest.
        times: how often it comes.
    """

    counter: str
    at: tuple[int, int]
    seconds: tuple[float, float]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row.

    Attributes:
        name: stable; the clause is called "chaos/<name>".
        title: one sentence for people.
        workload: what runs.
        faults: each with its targets and timing; none for the baseline. Where several stand in the place of one, each
            time it is another of them.
        goes_on: activities of the workload that must not stand still while a fault lasts.
        stops: activities that a fault stops; where they go on it did not bite.
        claims: requirements it speaks for.
        profile: the shortest one that runs it.
        stacks: kinds of stack it can be run on.
        recovers_within_seconds: after the last fault was healed.
        restarts: how often a consumer may end by itself.
        answers_within_seconds: how long a caller may be kept waiting; None: for as long as it takes.
        is_harmless: its fault is made to do nothing, so that its verdict must be unknown; the clause is about that.
    """

    name: str
    title: str
    workload: WorkloadSpec
    faults: tuple[tuple[tuple[FaultSpec, ...], tuple[str, ...], Timing], ...]
    goes_on: tuple[str, ...]
    stops: tuple[str, ...]
    claims: tuple[str, ...]
    profile: str
    stacks: tuple[str, ...]
    recovers_within_seconds: float = _DEFAULT_RECOVERY_SECONDS
    restarts: int = 0
    answers_within_seconds: float | None = None
    is_harmless: bool = False

    @property
    def how_much_goes_on(self) -> str:
        """In a word: all, some or nothing."""
        if not self.goes_on:
            return NOTHING
        return ALL if set(self.goes_on) == set(self.workload.activities) else SOME

    def is_of(self, profile: str) -> bool:
        """Whether a profile runs it."""
        return PROFILES.index(self.profile) <= PROFILES.index(profile)


def read_table(path: Path = TABLE) -> tuple[Scenario, ...]:
    """Every scenario in the order of the table, the baseline first.

    Raises:
        UsageError: the table cannot be used; the message names the row.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be used: {error}") from None
    parts = _Parts(
        {name: _workload(table) for name, table in document["workload"].items()},
        {name: _fault(name, table) for name, table in document["fault"].items()},
        {name: _timing(table) for name, table in document["timing"].items()},
        {name: tuple(targets) for name, targets in document["target"].items()},
    )
    scenarios = []
    for row in document["scenario"]:
        try:
            scenarios.append(_scenario(row, parts))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: scenario {row.get('name')}: {error!r}") from None
    names = [scenario.name for scenario in scenarios]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: more than one scenario is called {', '.join(doubled)}")
    if names[:1] != [BASELINE]:
        raise UsageError(f"{path}: the first scenario must be the {BASELINE}")
    return tuple(scenarios)


def chosen(scenarios: Iterable[Scenario], profile: str, only: str | None = None) -> tuple[Scenario, ...]:
    """The scenarios a profile runs, or those whose name begins so or that cite an id; the baseline is always one.

    Raises:
        UsageError: nothing is called so.
    """
    listed = tuple(scenarios)
    if only is None:
        return tuple(one for one in listed if one.is_of(profile))
    found = {one.name for one in listed if one.name.startswith(only) or _cites(one, only)}
    if not found:
        raise UsageError(f"no scenario is called {only} or cites it; `python -m chaos list` names them all")
    return tuple(one for one in listed if one.name in found or one.name == BASELINE)


@dataclass(frozen=True, slots=True)
class _Parts:
    workloads: Mapping[str, WorkloadSpec]
    faults: Mapping[str, FaultSpec]
    timings: Mapping[str, Timing]
    targets: Mapping[str, tuple[str, ...]]


def _cites(scenario: Scenario, claim: str) -> bool:
    return any(one == claim or one.rstrip("abcdefghij") == claim for one in scenario.claims)


def _workload(table: Mapping[str, Any]) -> WorkloadSpec:
    return WorkloadSpec(**{**table, "callers": tuple(table.get("callers", ()))})


def _fault(name: str, table: Mapping[str, Any]) -> FaultSpec:
    parameters = {key: value for key, value in table.items() if key != "kind"}
    return FaultSpec(table.get("kind", name), parameters)


def _timing(table: Mapping[str, Any]) -> Timing:
    return Timing(table["counter"], tuple(table["at"]), tuple(table["seconds"]), table.get("times", 1))


def _scenario(row: Mapping[str, Any], parts: _Parts) -> Scenario:
    workload = parts.workloads[row["workload"]]
    optional = ("recovers_within_seconds", "restarts", "answers_within_seconds", "is_harmless")
    scenario = Scenario(
        name=row["name"],
        title=row["title"],
        workload=workload,
        faults=tuple(_planned(planned, parts) for planned in row.get("faults", ())),
        goes_on=_activities(row["goes_on"], workload),
        stops=tuple(row.get("stops", ())),
        claims=tuple(row["claims"]),
        profile=row.get("profile", "standard"),
        stacks=tuple(row.get("stacks", ("containers",))),
        **{name: row[name] for name in optional if name in row},
    )
    PROFILES.index(scenario.profile)
    if unknown := sorted({*scenario.goes_on, *scenario.stops} - set(workload.activities)):
        raise ValueError(f"the workload does not {' or '.join(unknown)}")
    return scenario


def _planned(text: str, parts: _Parts) -> tuple[tuple[FaultSpec, ...], tuple[str, ...], Timing]:
    """What "latency or down on kafka, window" stands for; a target that is no group stands for itself."""
    what, _, timing = text.partition(", ")
    faults, _, target = what.partition(" on ")
    return (
        tuple(parts.faults[one] for one in faults.split(" or ")),
        parts.targets.get(target, (target,)),
        parts.timings[timing],
    )


def _activities(value: str | list[str], workload: WorkloadSpec) -> tuple[str, ...]:
    if isinstance(value, str):
        return {ALL: workload.activities, NOTHING: ()}[value]
    return tuple(value)
