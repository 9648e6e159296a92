"""K2's own processes, as every stack of this host runs them: children that find their settings in a data directory."""

import json
from collections.abc import Mapping
from pathlib import Path

from conformance.stacks.base import CutPlan, SignalPlan
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess
from k2.records.definition import topic
from k2.settings import Settings


class PlatformProcesses:
    """Starts consumers, feeds and APIs, and ends them again.

    Args:
        directory: data directory whose settings.json they read.
        log_directory: gets a file for each process.
        environment: settings that all of them share.
    """

    settings: Settings
    """Known once it was started."""

    def __init__(self, directory: Path, log_directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._log_directory = log_directory
        self._environment = environment
        self._children: list[ChildProcess] = []

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

    def start_feed(self, rate_per_second: float, seed: int) -> ChildProcess:
        """Start a process that sends records of the synthetic exchange without end."""
        source = ["--synthetic", "--seed", str(seed), "--rate", str(rate_per_second)]
        return self._spawn("feed", ["k2.cli", "--data-dir", str(self.directory), "feed", *source])

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

    def _spawn(self, role: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> ChildProcess:
        log = self._log_directory / f"{len(self._children) + 1:02d}-{role}.log"
        child = ChildProcess(role, arguments, log, {**self._environment, **(environment or {})}, process_starter())
        self._children.append(child)
        return child
