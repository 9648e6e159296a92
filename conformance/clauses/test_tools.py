"""Tools are reached at one place each.

promtool MUST be called through one module and the docker SDK only inside the containers stack, and the environments of
tox MUST start what they are named after (HAR-7). A module planted in a copy MUST be found.
"""

import shutil
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.source_reach import PACKAGES, callers, importers, tox_commands

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = "conformance/stacks/containers/"
STARTED = {"conformance": "conformance", "chaos": "chaos", "load": "load", "alerts": "chaos"}
PLANTED = 'import subprocess\nfrom docker import from_env\n\nsubprocess.run(["promtool", "check"])\n'


@pytest.mark.clause(
    name="tools",
    claims=("HAR-7a",),
    checker="facts",
    title="promtool and the docker SDK are reached at one place each, and tox starts what it names",
    minimum_samples=6,
    remedy="see conformance/promtool.py, conformance/stacks/containers and tox.ini",
)
def test_tools_are_reached_at_one_place_each(clause: ClauseRun, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    planted = tmp_path / "chaos" / "planted.py"
    planted.write_text(PLANTED)
    found = "chaos/planted.py"
    with clause.history() as history:
        record_fact(history, "modules that call promtool", ["conformance/promtool.py"], callers, ROOT, "promtool")
        record_fact(history, "docker SDK inside the stack", True, lambda: bool(importers(ROOT, "docker")))
        record_fact(history, "docker SDK elsewhere", [], outside_the_stack, ROOT)
        record_fact(history, "planted call found", True, lambda: found in callers(tmp_path, "promtool"))
        record_fact(history, "planted import found", [found], outside_the_stack, tmp_path)
        record_fact(history, "what tox starts", STARTED, tox_commands, ROOT, tuple(STARTED))
    clause.judge()


def outside_the_stack(root: Path) -> list[str]:
    """Modules that import the docker SDK and are no part of the containers stack."""
    return [path for path in importers(root, "docker") if not path.startswith(CONTAINERS)]
