"""Schedules: which fault comes when, as a flat list of entries that do not need one another.

A schedule is a function of the scenarios and the seed. Entries are keyed to counts, not to time: "after 900 records
were acknowledged since the warm-up". So a replay does the same at the same counts; what the system does meanwhile is
its own affair, and no run promises to be like another. Any subset of the entries is a schedule too.

    {"format": 1, "seed": 7, "scenarios": ["baseline", "kafka_latency"],
     "entries": [{"scenario": "kafka_latency", "fault": "latency", "target": "kafka", "counter": "acknowledged",
                  "at": 734, "seconds": 3.2, "parameters": {"latency": 250}}]}
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

from chaos.scenarios.table import Scenario
from k2.errors import UsageError

FORMAT = 1
SCHEDULE_FILE = "schedule.json"
"""In a run directory."""
COUNTERS = ("acknowledged", "committed", "batches")
"""Records acknowledged to the producer, records the table has taken in, and a consumer's own batches."""


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """One fault, once.

    Attributes:
        scenario: row of the table it belongs to.
        fault: kind, see chaos.faults.
        target: what it is done to; several names stand with commas between.
        counter: what its time is counted in, one of COUNTERS.
        at: it comes when the counter, counted from the end of the warm-up, has reached this.
        seconds: how long it lasts.
        parameters: of its kind.
    """

    scenario: str
    fault: str
    target: str
    counter: str
    at: int
    seconds: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is run, and when which fault comes.

    Attributes:
        seed: what it was made from.
        scenarios: every scenario that is run; one without entries is run without a fault.
        entries: in no particular order.
    """

    seed: int
    scenarios: tuple[str, ...]
    entries: tuple[FaultEntry, ...]

    def of(self, scenario: str) -> tuple[FaultEntry, ...]:
        """The entries of a scenario, the first to come first."""
        return tuple(sorted((one for one in self.entries if one.scenario == scenario), key=lambda one: one.at))

    def as_json(self) -> dict[str, Any]:
        """The schedule's document."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "scenarios": list(self.scenarios),
            "entries": [asdict(entry) for entry in self.entries],
        }

    def write(self, path: Path) -> None:
        """Keep it as a file, an entry a line, so that a person can take some out."""
        path.write_text(self.text())

    def text(self) -> str:
        """The file's text."""
        document = self.as_json()
        entries = ",\n".join("  " + json.dumps(entry) for entry in document.pop("entries"))
        return json.dumps(document)[:-1] + f', "entries": [\n{entries}\n]}}\n'


def make_schedule(scenarios: Iterable[Scenario], seed: int) -> Schedule:
    """The schedule of a seed; what a scenario gets does not depend on which others are run."""
    chosen = tuple(scenarios)
    entries = [entry for scenario in chosen for entry in _entries(scenario, Random(f"{seed}/{scenario.name}"))]
    return Schedule(seed, tuple(scenario.name for scenario in chosen), tuple(entries))


def read_schedule(path: Path) -> Schedule:
    """A schedule that was kept.

    Raises:
        UsageError: the file cannot be used.
    """
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise UsageError(f"{path}: format {document['format']} is not {FORMAT}")
        entries = tuple(_entry(table) for table in document["entries"])
        schedule = Schedule(int(document["seed"]), tuple(document["scenarios"]), entries)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no schedule: {error!r}; `python -m chaos schedule` writes one") from None
    if strange := sorted({entry.scenario for entry in entries} - set(schedule.scenarios)):
        raise UsageError(f"{path}: entries belong to scenarios that are not listed: {', '.join(strange)}")
    return schedule


def _entry(table: Mapping[str, Any]) -> FaultEntry:
    entry = FaultEntry(**{field.name: table[field.name] for field in fields(FaultEntry)})
    if entry.counter not in COUNTERS:
        raise ValueError(f"counter {entry.counter!r} is none of {', '.join(COUNTERS)}")
    if entry.at < 0 or entry.seconds < 0:
        raise ValueError(f"at and seconds of {entry.scenario} must not be negative")
    return entry


def _entries(scenario: Scenario, random: Random) -> Iterable[FaultEntry]:
    for faults, target, timing in scenario.faults:
        at = 0
        for _ in range(timing.times):
            # The first after what was measured without a fault, each further one so much later.
            at += random.randint(*timing.at)
            fault = random.choice(faults)
            yield FaultEntry(
                scenario=scenario.name,
                fault=fault.kind,
                target=random.choice(target) if timing.times > 1 else ",".join(target),
                counter=timing.counter,
                at=at,
                seconds=round(random.uniform(*timing.seconds), 2),
                parameters={name: _drawn(value, random) for name, value in fault.parameters.items()},
            )


def _drawn(value: Any, random: Random) -> Any:
    return random.choice(value) if isinstance(value, list) else value
