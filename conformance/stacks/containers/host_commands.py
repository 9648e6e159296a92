"""Commands of the host that take a while: output into a file, and an orderly end on Ctrl-C."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_SHOWN_LINES = 15
_LONGEST_END_SECONDS = 60.0


class HostCommandError(Exception):
    """A command failed.

    Attributes:
        tail: the last lines it wrote.
    """

    def __init__(self, command: Sequence[str], exit_status: int, log: Path) -> None:
        super().__init__(f"{command[0]} failed with exit status {exit_status}")
        self.tail = last_lines(log)


def run_logged(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run a command and append what it writes to a file.

    It has a session of its own: Ctrl-C reaches it through here, once, and it is waited for, since a package manager or
    debootstrap that is torn away leaves half-installed packages and mounts behind.

    Raises:
        HostCommandError: it failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            exit_status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_LONGEST_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    if exit_status != 0:
        raise HostCommandError(command, exit_status, log)


def run_apt(arguments: Sequence[str], log: Path) -> None:
    """Run apt-get, asking nothing, and waiting for another that is at work.

    Raises:
        HostCommandError: it failed.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_logged(("apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments), log, environment)


def last_lines(log: Path, count: int = _SHOWN_LINES) -> str:
    """The end of a log file; empty if there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(line.rstrip() for line in lines[-count:])
