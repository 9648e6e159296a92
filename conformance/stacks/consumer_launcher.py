"""Runs K2's own consumer with an observer that signals its process after a chosen step, or with answers cut off.

So the product has no test switch. Every step from then on leaves a line of evidence, so that what a signal did, and
what it did not, can be seen afterwards.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

from conformance.stacks.cut_answers import cut_answers
from k2.assembly.consuming import build_consumer, exported_metrics
from k2.ingestion.consumer import OnStep, Step, ignore_step
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.settings import load_settings


def signaller(number: signal.Signals, after: Step, at_batch: int, evidence: Path) -> OnStep:
    """An observer that writes a line for the chosen step and all later ones, and sends the signal after the first."""
    sent = False

    def on_step(step: Step, batch: int) -> None:
        nonlocal sent
        if not sent and (step is not after or (batch < at_batch and step is not Step.ASSIGN)):
            return
        line = {"step": step.name, "batch": batch, "process_id": os.getpid(), "wall_ns": time.time_ns()}
        with evidence.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not sent:
            sent = True
            os.kill(os.getpid(), number)

    return on_step


def main() -> None:
    """Parse the command line, run the consumer until it is killed or stopped."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.consumer_launcher")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--data-type", required=True)
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP"])
    parser.add_argument("--after-step", choices=[step.name for step in Step])
    parser.add_argument("--at-batch", type=int, default=1)
    parser.add_argument("--cut-answers", type=int, default=0)
    parser.add_argument("--evidence", type=Path, required=True)
    arguments = parser.parse_args()
    settings = load_settings(arguments.data_dir)
    configure_logs(settings.log_level)
    chosen = settings.consumer.model_copy(update={"data_type": arguments.data_type})
    observer: OnStep = ignore_step
    if arguments.signal is not None:
        number = signal.Signals[arguments.signal]
        observer = signaller(number, Step[arguments.after_step], arguments.at_batch, arguments.evidence)
    metrics = Metrics()
    with exported_metrics(chosen, metrics, lambda url: print(json.dumps({"metrics_url": url}), flush=True)):
        consumer = build_consumer(settings.model_copy(update={"consumer": chosen}), metrics, observer)
        for stopping in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stopping, lambda *_: consumer.stop())
        if arguments.cut_answers:
            cut_answers(arguments.evidence, arguments.cut_answers, settings.storage.catalog_uri)
        consumer.run()


if __name__ == "__main__":
    main()
