"""The embedded stack: broker, consumers and API as processes on loopback, files in one directory. No Docker."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from conformance.stacks.base import CutPlan, SignalPlan
from conformance.stacks.warm_start import process_starter
from k2.assembly.tables import create_tables
from k2.embedded.platform import all_topics, claim_directory, write_settings
from k2.embedded.processes import ChildProcess
from k2.settings import load_settings


class EmbeddedStack:
    """One embedded stack in a directory of its own; a context manager."""

    name = "embedded"

    def __init__(self, directory: Path, *, partitions: int = 4, batch_rows: int = 100_000) -> None:
        self.directory = directory / "data"
        self._log_directory = directory / "logs"
        self._partitions = partitions
        self._environment = {"K2_CONSUMER__BATCH_ROWS": str(batch_rows), "K2_CONSUMER__BATCH_SECONDS": "0.3"}
        self._children: list[ChildProcess] = []

    def start(self) -> None:
        """Start the broker and create the tables."""
        claim_directory(self.directory, keep=False).close()
        topics = [part for name in all_topics() for part in ("--topic", name)]
        broker = self._spawn("broker", ["k2.embedded.broker", "--partitions", str(self._partitions), *topics])
        bootstrap_servers = json.loads(broker.next_line())["bootstrap_servers"]
        write_settings(self.directory, bootstrap_servers, api_port=0)
        self.settings = load_settings(self.directory)
        create_tables(self.settings)

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

    def command_broker(self, do: str, **arguments: object) -> None:
        """Have the broker do one of k2.embedded.broker.COMMANDS.

        Raises:
            RuntimeError: it refused.
        """
        answer = self.process("broker").request({"do": do, **arguments})
        if not answer["ok"]:
            raise RuntimeError(f"{do}: {answer['error']}")

    def process(self, role: str) -> ChildProcess:
        """The newest process of a role: "consumer-trades", "api"."""
        return next(child for child in reversed(self._children) if child.name == role)

    def logs(self) -> Mapping[str, str]:
        """Everything each process has logged, by file name."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self._log_directory.glob("*.log"))}

    def stop(self) -> None:
        """End all processes, the broker last."""
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
