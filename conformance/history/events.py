"""The values a history is made of, and their JSON.

    header       what was run: clause, checker, seed, parameters. Always the first line.
    operation    something was asked of the system: by whom, what, with which outcome, when.
    observation  a table of what could be seen at one stage, kept in an Arrow file beside the history.
    end          the number of operations. Always the last line.

A history without its end line is that of a run that did not finish.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

FORMAT = 1


class HistoryError(ValueError):
    """A history cannot be written or read as stated; the message names the file and the line or the stage."""


class OperationOutcome(StrEnum):
    """What the one who asked knows of the outcome. UNKNOWN: it may or may not have taken effect."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Header:
    """What was run.

    Attributes:
        clause: stable name of the clause and its case: "at_least_once/kill_after_write".
        claims: ids of the requirements it speaks for.
        checker: name of the checker that judges it.
        seed: the number that all randomness of the run came from.
        stack: "embedded", "containers" or "external".
        started_wall_ns: ns since the Unix epoch, UTC.
        parameters: what the checker needs to know of the plan; each checker's docstring names its own.
            `minimum_samples` is common to all: fewer samples never pass.
    """

    clause: str
    claims: tuple[str, ...]
    checker: str
    seed: int
    stack: str
    started_wall_ns: int
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The header's line."""
        return {
            "type": "header",
            "format": FORMAT,
            "clause": self.clause,
            "claims": list(self.claims),
            "checker": self.checker,
            "seed": self.seed,
            "stack": self.stack,
            "started_wall_ns": self.started_wall_ns,
            "parameters": dict(self.parameters),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Header":
        """The header of its line; KeyError or HistoryError for a line that is not one."""
        if line.get("type") != "header" or line.get("format") != FORMAT:
            raise HistoryError(f"the first line must be a header of format {FORMAT}")
        return cls(
            clause=line["clause"],
            claims=tuple(line["claims"]),
            checker=line["checker"],
            seed=line["seed"],
            stack=line["stack"],
            started_wall_ns=line["started_wall_ns"],
            parameters=line["parameters"],
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that was asked of the system.

    Attributes:
        process: who asked: producer, consumer, api, feed or harness.
        action: what was asked: produce, commit, kill, restart, request, ...
        outcome: what is known of it.
        invoked_monotonic_ns, completed_monotonic_ns: start and end on a clock that never goes backwards.
        wall_ns: wall-clock time of the invocation, ns since the Unix epoch, UTC.
        attributes: JSON values; the checkers' docstrings say which they read.
    """

    process: str
    action: str
    outcome: OperationOutcome
    invoked_monotonic_ns: int
    completed_monotonic_ns: int
    wall_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The operation's line."""
        return {
            "type": "operation",
            "process": self.process,
            "action": self.action,
            "outcome": self.outcome.value,
            "invoked_monotonic_ns": self.invoked_monotonic_ns,
            "completed_monotonic_ns": self.completed_monotonic_ns,
            "wall_ns": self.wall_ns,
            "attributes": dict(self.attributes),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Operation":
        """The operation of its line; KeyError or ValueError for a line that is not one."""
        return cls(
            process=line["process"],
            action=line["action"],
            outcome=OperationOutcome(line["outcome"]),
            invoked_monotonic_ns=line["invoked_monotonic_ns"],
            completed_monotonic_ns=line["completed_monotonic_ns"],
            wall_ns=line["wall_ns"],
            attributes=line["attributes"],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What could be seen at one stage of the journey.

    Attributes:
        stage: fed, logged, stored, answered, snapshots, verdicts, dead_letters, ...
        table: the rows, in the order in which they were seen.
        data_type: the record type of every row (trades, quotes), where the table has no such column.
    """

    stage: str
    table: pa.Table
    data_type: str | None = None
