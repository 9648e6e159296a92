"""What breaks is brought back by the runbooks' own commands, in time, and every record is where it belongs.

On a whole deployment, fed all the while, servers are ended as in a power cut, their files are damaged or lost, and what
the runbook says is typed, block by block. Kafka MUST be back within 5 minutes (OPS-3a), the object store within 10
(OPS-3b), PostgreSQL within 15 (OPS-3c); so MUST what hangs on them: the Schema Registry, and the cascade of catalog,
storage and ingestion (OPS-3d), a broker's damaged checkpoint files (OPS-3e), and catalog and warehouse that are lost
altogether and restored from a backup (OPS-3f). After each, every record that was acknowledged MUST be in the log, in
the table once, and in the API's answer unchanged. With PROFILE=full only: a deployment of its own, and minutes.
"""

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.recoveries import Recovery, recover
from conformance.drivers.recovery_report import add_to_report
from conformance.drivers.recovery_table import RECOVERIES
from conformance.stacks.containers.deployed import Deployed

pytestmark = [pytest.mark.alone, pytest.mark.full_profile, pytest.mark.timeout(1_500)]
RECORDS = 300
REMEDY = "the finding names the runbook's block and what it said; the report is recoveries.md of the run"


@pytest.mark.parametrize(
    ("number", "recovery"),
    [
        pytest.param(
            number,
            recovery,
            id=recovery.name,
            marks=pytest.mark.clause(
                name="recoveries",
                claims=claims,
                checker="recovery",
                title=f"Brought back by the runbook's commands, in time, every record intact: {recovery.name}",
                minimum_samples=RECORDS,
                remedy=REMEDY,
            ),
        )
        for number, (claims, recovery) in enumerate(RECOVERIES, start=1)
    ],
)
def test_what_broke_is_brought_back_with_every_record(
    number: int, recovery: Recovery, deployment: Deployed, clause: ClauseRun
) -> None:
    required = ["fed", "logged", "stored", "answered"]
    with clause.history(seed=number, expected_recoveries=[recovery.name], required_stages=required) as history:
        recovered = recover(history, deployment, recovery, seed=number)
        add_to_report(clause.run_directory / "recoveries.md", recovered)
    clause.judge()
