"""Runs `k2 dlq` as an operator does: a process with arguments, an exit code and what it prints."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess

COMMAND_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What --json printed, one object a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def dlq(stack: Stack, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
    """Run `k2 dlq` to its end (see `k2`)."""
    return k2(stack, "dlq", *arguments, environment=environment)


def k2(stack: Stack, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
    """Run one command to its end.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    command = ["k2.cli", "--data-dir", str(stack.directory), *arguments]
    with tempfile.TemporaryFile() as errors:
        process = process_starter()(command, errors, {**os.environ, **(environment or {})})
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            stdout = process.stdout.read().decode()
            exit_code = process.wait(COMMAND_TIMEOUT_SECONDS)
        errors.seek(0)
        return Answer(exit_code, stdout, errors.read().decode())


def start_replay_to_be_killed(stack: Stack, plan: Sequence[str]) -> ChildProcess:
    """Begin a replay of everything that ends as these arguments of conformance.stacks.replay_launcher say."""
    command = ["conformance.stacks.replay_launcher", "--data-dir", str(stack.directory), *plan]
    return ChildProcess("replay", command, stack.directory.parent / "logs" / "replay.log", start=process_starter())


def replay(history: HistoryWriter, stack: Stack, *arguments: str, must_send: int | None) -> Answer:
    """Replay letters and record what the command said as the operation `replay`."""
    with history.invoke("operator", "replay") as invocation:
        answer = dlq(stack, "replay", "--json", *arguments)
        said = answer.objects[0] if answer.stdout else {}
        invocation.attributes |= {
            "arguments": list(arguments),
            "exit_code": answer.exit_code,
            "must_send": must_send,
            "sent": said.get("sent"),
            "skipped": said.get("skipped"),
            "error": answer.stderr[-300:],
        }
    return answer
