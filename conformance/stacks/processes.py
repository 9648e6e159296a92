"""K2's own processes, as every stack of this host runs them: children that find their settings in a data directory."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from conformance.stacks.base import CutPlan, SignalPlan
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess
from k2.records.definition import topic
from k2.settings import Settings


class PlatformProcesses(ABC):
    """Starts consumers, feeds and APIs, and ends them again; a context manager.

    Args:
        directory: of this platform alone; gets the data directory whose settings.json they read, and their logs.
        batch_rows: largest batch of a consumer.
    """

    settings: Settings
    """Known once it was started."""

    def __init__(self, directory: Path, batch_rows: int) -> None:
        self.directory = directory / "data"
        self._log_directory = directory / "logs"
        self._environment = {"K2_CONSUMER__BATCH_ROWS": str(batch_rows), "K2_CONSUMER__BATCH_SECONDS": "0.3"}
        self._children: list[ChildProcess] = []

    @abstractmethod
    def start(self) -> None:
        """Bring up what all processes need."""

    def topic(self, asset_class: str, data_type: str) -> str:
        """Name of the topic that records of a kind are sent to."""
        return topic(asset_class, data_type, self.settings.kafka.topic_prefix)

    def start_consumer(
        self,
        data_type: str,
        plan: SignalPlan | CutPlan | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start a consumer process; with a plan it signals itself, or misses answers."""
        role, place = f"consumer-{data_type}", ("--data-dir", str(self.directory))
        if plan is None:
            return self._spawn(role, ["k2.cli", *place, "consume", "--data-type", data_type], environment)
        planned = (
            [*("--signal", plan.signal, "--after-step", plan.after_step, "--at-batch", str(plan.at_batch))]
            if isinstance(plan, SignalPlan)
            else ["--cut-answers", str(plan.count)]
        )
        launcher = ["conformance.stacks.consumer_launcher", *place, "--data-type", data_type]
        return self._spawn(role, [*launcher, "--evidence", str(plan.evidence), *planned], environment)

    def start_feed(
        self, rate_per_second: float, seed: int, *options: str, environment: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start a process that sends records of the synthetic exchange without end; `options` are of `k2 feed`."""
        source = ["--synthetic", "--seed", str(seed), "--rate", str(rate_per_second), *options]
        return self._spawn("feed", ["k2.cli", "--data-dir", str(self.directory), "feed", *source], environment)

    def start_api(self, environment: Mapping[str, str] | None = None) -> str:
        """Start an API process on a free port and return its address."""
        child = self._spawn("api", ["k2.cli", "--data-dir", str(self.directory), "api"], environment or {})
        return str(json.loads(child.next_line())["url"])

    def process(self, role: str) -> ChildProcess:
        """The newest process of a role: "consumer-trades", "api"."""
        return next(child for child in reversed(self._children) if child.name == role)

    def logs(self) -> Mapping[str, str]:
        """Everything each process has logged, by file name."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self._log_directory.glob("*.log"))}

    def stop(self) -> None:
        """End all processes, the first one last."""
        for child in reversed(self._children):
            child.stop()
        self._children = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, role: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> ChildProcess:
        log = self._log_directory / f"{len(self._children) + 1:02d}-{role}.log"
        child = ChildProcess(role, arguments, log, {**self._environment, **(environment or {})}, process_starter())
        self._children.append(child)
        return child
