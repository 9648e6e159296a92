"""Faults of K2's own processes.

At a count, the harness sends the signal. After a step of the commit protocol, or with answers cut off, the process does
it to itself by a plan it was started with (conformance.stacks.base), so such a fault is due when it has happened.
"""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chaos.faults.fault import TimedFault
from chaos.probes.states import ENDED, STOPPED, count_lines, process_state
from k2.embedded.processes import ChildProcess

_DEATH_SECONDS = 10.0


class ConsumerKeeper(Protocol):
    """Whoever keeps the consumer of a workload running."""

    def consumer(self) -> ChildProcess:
        """The newest one."""

    def leave_dead(self) -> None:
        """Do not replace it if it ends: that is what is wanted."""

    def replace_consumer(self) -> None:
        """Start another in the place of one that has ended."""

    def add_consumer(self) -> None:
        """Start another beside it."""


@dataclass(slots=True)
class ConsumerKilled(TimedFault):
    """SIGKILL to the consumer at a count; another is started in its place."""

    keeper: ConsumerKeeper

    def inject(self) -> Mapping[str, Any]:
        """Kill it and see it dead."""
        self.keeper.leave_dead()
        consumer = self.keeper.consumer()
        consumer.signal(signal.SIGKILL)
        return {"exit_signal": -consumer.wait(_DEATH_SECONDS)}

    def heal(self) -> None:
        """Start another."""
        self.keeper.replace_consumer()


@dataclass(slots=True)
class ConsumerStopped(TimedFault):
    """SIGSTOP to the consumer at a count, SIGCONT afterwards."""

    keeper: ConsumerKeeper

    def inject(self) -> Mapping[str, Any]:
        """Freeze it."""
        self.keeper.consumer().signal(signal.SIGSTOP)
        return {}

    def heal(self) -> None:
        """Let it go on."""
        self.keeper.consumer().signal(signal.SIGCONT)


@dataclass(slots=True)
class EndedAtStep(TimedFault):
    """A consumer kills or freezes itself after a step.

    Attributes:
        keeper: of the consumer.
        consumer: the one that was started with the plan.
        evidence: file it writes a line to just before the signal.
        gone_as: ENDED for SIGKILL, STOPPED for SIGSTOP.
        has_rival: whether another is started meanwhile, which takes its partitions over.
    """

    keeper: ConsumerKeeper
    consumer: ChildProcess
    evidence: Path
    gone_as: str
    has_rival: bool = False

    def is_due(self, reached: bool) -> bool:
        """When it has happened."""
        return process_state(self.consumer) == self.gone_as

    def inject(self) -> Mapping[str, Any]:
        """It has happened; returns what the process wrote down."""
        (line,) = self.evidence.read_text().splitlines()[:1]
        written = json.loads(line)
        exit_signal = -(self.consumer.returncode() or 0)
        if self.has_rival:
            self.keeper.add_consumer()
        return {"began_wall_ns": written["wall_ns"], "evidence": written, "exit_signal": exit_signal}

    def heal(self) -> None:
        """Start another, or let it go on."""
        if self.gone_as == ENDED:
            self.keeper.replace_consumer()
        else:
            assert self.gone_as == STOPPED
            self.consumer.signal(signal.SIGCONT)


@dataclass(slots=True)
class AnswersCut(TimedFault):
    """The consumer does not get the catalog's answers to commits, half of which hold.

    Attributes:
        evidence: file it writes a line to for each.
        count: how many are cut.
    """

    evidence: Path
    count: int

    def is_due(self, reached: bool) -> bool:
        """From the first on."""
        return count_lines(self.evidence) > 0

    def inject(self) -> Mapping[str, Any]:
        """It goes on by itself."""
        return {}

    def is_over(self, seconds_are_over: bool) -> bool:
        """With the last, or after its seconds."""
        return seconds_are_over or count_lines(self.evidence) >= self.count

    def heal(self) -> None:
        """It is over by itself."""
