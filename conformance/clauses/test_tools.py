"""Tools are reached at one place each.

promtool MUST be called through one module and the docker SDK only inside the containers stack, and the environments of
tox MUST start what they are named after (HAR-7). A planted module MUST be found.
"""

from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.source_reach import Sources, callers, importers, read_sources, tox_commands

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
    found = "chaos/planted.py"
    planted = tmp_path / found
    planted.parent.mkdir()
    planted.write_text(PLANTED)
    ours, with_planted = read_sources(ROOT), read_sources(tmp_path)
    with clause.history() as history:
        record_fact(history, "modules that call promtool", ["conformance/promtool.py"], callers, ours, "promtool")
        record_fact(history, "docker SDK inside the stack", True, lambda: bool(importers(ours, "docker")))
        record_fact(history, "docker SDK elsewhere", [], outside_the_stack, ours)
        record_fact(history, "planted call found", True, lambda: found in callers(with_planted, "promtool"))
        record_fact(history, "planted import found", [found], outside_the_stack, with_planted)
        record_fact(history, "what tox starts", STARTED, tox_commands, ROOT, tuple(STARTED))
    clause.judge()


def outside_the_stack(sources: Sources) -> list[str]:
    """Modules that import the docker SDK and are no part of the containers stack."""
    return [path for path in importers(sources, "docker") if not path.startswith(CONTAINERS)]
