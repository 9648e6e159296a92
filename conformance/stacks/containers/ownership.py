"""Whose containers and networks are whose: labels, and what follows from them once the owner has ended.

Everything a run starts carries its run's id and its owner: the machine as it was booted, the process, and when that
process was created. So an owner that was killed is told from one that lives, a process id that was given anew from the
old one, and two living runs never touch each other's.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

RUN_LABEL = "k2.run"
OWNER_LABEL = "k2.owner"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that is to clean up.

    Attributes:
        machine: where its id means anything: this boot of this machine, or of this container's own processes.
        process_id: there.
        created_at: seconds since the epoch, by the kernel.
    """

    machine: str
    process_id: int
    created_at: float

    def label(self) -> str:
        """As it is written on what it owns."""
        return f"{self.machine}/{self.process_id}/{self.created_at!r}"

    def has_ended(self) -> bool:
        """Whether it certainly has ended; of another machine's that is not known, so no."""
        if self.machine != this_machine():
            return False
        try:
            return bool(psutil.Process(self.process_id).create_time() != self.created_at)
        except psutil.NoSuchProcess:
            return True


def this_machine() -> str:
    """This boot, and this view of its processes."""
    try:
        namespace = os.readlink(_PROCESS_NAMESPACE).strip("pid:[]")
        return f"{_BOOT_ID.read_text().strip()}-{namespace}"
    except OSError:
        return str(int(psutil.boot_time()))


def this_process() -> Owner:
    """The process that asks."""
    return Owner(this_machine(), os.getpid(), psutil.Process().create_time())


def owner_from(label: str) -> Owner | None:
    """The owner a label names; None if it names none."""
    parts = label.rsplit("/", 2)
    try:
        machine, process_id, created_at = parts
        return Owner(machine, int(process_id), float(created_at))
    except ValueError:
        return None


def run_labels(run_id: str) -> dict[str, str]:
    """What everything carries that this process starts for a run."""
    return {RUN_LABEL: run_id, OWNER_LABEL: this_process().label()}


def orphaned_runs(labels: Iterable[Mapping[str, str]]) -> set[str]:
    """Ids of the runs among these labels whose owner has ended."""
    found = set()
    for of_one in labels:
        owner = owner_from(of_one.get(OWNER_LABEL, ""))
        if RUN_LABEL in of_one and owner is not None and owner.has_ended():
            found.add(of_one[RUN_LABEL])
    return found
