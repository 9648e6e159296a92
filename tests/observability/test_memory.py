"""Memory of this process: what it holds, and what it may."""

import os
from pathlib import Path

import psutil
import pytest

from k2.observability import memory
from k2.observability.memory import resident_bytes, usable_bytes

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="told by Linux only")


def test_what_is_held_is_what_the_system_says() -> None:
    other = psutil.Process().memory_info().rss
    assert abs(resident_bytes() - other) < 0.2 * other


def test_what_may_be_held_is_the_container_s_limit_or_the_machine_s_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = psutil.virtual_memory().total
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (tmp_path / "absent", limit))
    for text, expected in (("1048576\n", 1_048_576), ("max\n", machine), (str(machine * 2), machine)):
        limit.write_text(text)
        assert usable_bytes() == expected
    limit.unlink()
    assert usable_bytes() == machine
