"""Run the tests of tests/containers, which need a container engine: have one, have the images, and say what each took.

Where no engine can be had the tests skip with the reason, and those among them that need none run all the same. Exit
status: pytest's, or that of `python -m conformance images` where an image cannot be had.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CONFORMANCE = (sys.executable, "-m", "conformance")
_TESTS = (sys.executable, "-m", "pytest", "--quiet", "tests/containers")


def main() -> int:
    """Engine, images, tests: one after the other."""
    engine_status, engine_seconds = _run(*_CONFORMANCE, "engine", "--start")
    if engine_status != 0:
        print("container tests: without an engine, see above: what needs one is skipped", flush=True)
        return _run(*_TESTS)[0]
    images_status, images_seconds = _run(*_CONFORMANCE, "images")
    if images_status != 0:
        return images_status
    status, seconds = _run(*_TESTS)
    print(f"container tests: engine {engine_seconds:.0f} s, images {images_seconds:.0f} s, tests {seconds:.0f} s")
    return status


def _run(*command: str) -> tuple[int, float]:
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return status, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
