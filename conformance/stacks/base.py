"""The interface every stack has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from k2.embedded.processes import ChildProcess
from k2.settings import Settings


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """A signal that a consumer sends to itself, right after a step of the protocol.

    Attributes:
        after_step: name of the step, "WRITE".
        at_batch: the batch in which, counted from 1; ASSIGN happens before the first.
        evidence: file the process writes a line to just before the signal, and for every step it still does after it.
        signal: SIGKILL, SIGTERM, SIGINT or SIGSTOP.
    """

    after_step: str
    at_batch: int
    evidence: Path
    signal: str = "SIGKILL"


@dataclass(frozen=True, slots=True)
class CutPlan:
    """Answers to catalog commits that a consumer never gets, see conformance.stacks.cut_answers.

    Attributes:
        count: how many; half of these commits hold.
        evidence: file the process writes a line to for each.
    """

    count: int
    evidence: Path


class Stack(Protocol):
    """A running system under test."""

    name: str
    settings: Settings
    """How to reach it."""

    def start(self) -> None:
        """Bring up what all processes need (broker, catalog, tables)."""

    def start_consumer(
        self,
        data_type: str,
        plan: SignalPlan | CutPlan | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start a consumer process, with settings changed by environment variables.

        With a plan it signals itself, or misses answers.
        """

    def start_feed(self, rate_per_second: float, seed: int) -> ChildProcess:
        """Start a process that sends records of the synthetic exchange without end."""

    def start_api(self, environment: Mapping[str, str] | None = None) -> str:
        """Start an API process, with settings changed by environment variables, and return its address."""

    def process(self, role: str) -> ChildProcess:
        """The newest process of a role: "consumer-trades", "api"."""

    def logs(self) -> Mapping[str, str]:
        """Everything each process has logged."""

    def stop(self) -> None:
        """End all of it and leave nothing behind."""
