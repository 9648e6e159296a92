"""Each step of a recovery is one block of a runbook, and a text that names none or several is refused."""

from pathlib import Path

import pytest

from conformance.drivers.recoveries import Recovered, Step, block_of
from conformance.drivers.recovery_report import add_to_report
from conformance.drivers.recovery_table import RECOVERIES

ROLLED_BACK = Step("failure-recovery", "k2 audit snapshot")


def test_every_step_of_every_recovery_is_one_block_that_can_be_run() -> None:
    for _, recovery in RECOVERIES:
        known = [ROLLED_BACK] if recovery.name == "table-rolled-back" else recovery.steps(None)  # type: ignore[arg-type]
        for step in (*recovery.prepare, *known):
            _, block = block_of(step)
            assert not block.untested, recovery.name


@pytest.mark.parametrize(("text", "count"), [("no such command", 0), ("compose", 2)])
def test_a_text_of_no_block_or_of_several_is_refused(text: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"has {count if count == 0 else '[2-9]'} blocks with '{text}'"):
        block_of(Step("kafka-broker-down", text))


def test_the_report_gets_a_row_for_each_recovery(tmp_path: Path) -> None:
    path = tmp_path / "run" / "recoveries.md"
    add_to_report(path, Recovered("kafka", 300, 41.26, 38.0, 2))
    add_to_report(path, Recovered("object-store", 600, None, 660.0, 1))
    text = path.read_text()
    assert text.count("# Recoveries") == 1
    assert text.endswith("| kafka | 41.3 | 300 | 38.0 | 2 |\n| object-store | never | 600 | 660.0 | 1 |\n")
