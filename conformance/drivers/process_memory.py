"""How much memory a process holds, as the kernel counts it."""

from pathlib import Path

_RESET_PEAK = "5"


def reset_peak(process_id: int) -> int:
    """Forget the most a process has held so far; returns what it holds now, in bytes."""
    Path(f"/proc/{process_id}/clear_refs").write_text(_RESET_PEAK)
    return _read(process_id, "VmRSS:")


def peak_bytes(process_id: int) -> int:
    """The most it has held since the reset."""
    return _read(process_id, "VmHWM:")


def _read(process_id: int, name: str) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say {name} of process {process_id}")
