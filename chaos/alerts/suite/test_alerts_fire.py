"""A real fault MUST be heard at the webhook, through Prometheus and Alertmanager, and its end too (OBS-4).

Rules, waits and routes are those of deploy/, everything that lasts divided by one factor. Before any fault, nothing
MUST fire for three times as long as any alert looks back. What a fault fires beside what it must is listed, not judged.
"""

import shutil
from pathlib import Path

import allure
import pytest

from chaos.alerts import matrix
from chaos.alerts.execution import LONGEST_LOOK_SECONDS, MatrixRun, Say, hurried
from chaos.alerts.platform import AlertPlatform
from chaos.alerts.receiver import AlertReceiver
from chaos.alerts.report import PICTURE, write_report
from chaos.alerts.scaling import PRODUCTION_LOOKBACK, PRODUCTION_RESEND_DELAY, TimeScale
from chaos.alerts.watch import AlertWatch
from conformance.clause import ClauseRun
from conformance.history import History
from conformance.stacks.base import PowerMissingError
from conformance.stacks.kinds import CONTAINERS

FACTOR = 30
"""Five minutes are ten seconds, half a minute is one; processes are asked twice a second."""
PARTITIONS, BATCH_ROWS = 4, 10_000
"""Of 4 topics and 2 consumers that are read at once."""
SCALE = TimeScale(FACTOR)
VARIABLES = {
    "PROMETHEUS_LOOKBACK": SCALE.duration(PRODUCTION_LOOKBACK),
    "PROMETHEUS_RESEND_DELAY": SCALE.duration(PRODUCTION_RESEND_DELAY),
}


@pytest.mark.timeout(1_500)
@pytest.mark.alone
@pytest.mark.clause(
    name="alerts/matrix",
    claims=("OBS-4a", "OBS-4b"),
    checker="alert_matrix",
    title="Every fault is heard at the webhook and its end too, and in the control window all is silent",
    remedy="alerts/matrix.md in the run directory says which alert, which fault and when; docs/alerts-proven.md",
)
def test_faults_are_heard_and_silence_is_silent(
    clause: ClauseRun, request: pytest.FixtureRequest, tmp_path: Path, say: Say
) -> None:
    """The matrix, or a part of it, is carried out and judged."""
    if request.config.getoption("--k2-stack") != CONTAINERS:
        raise PowerMissingError("Prometheus and Alertmanager are needed: --stack containers")
    from conformance.stacks.containers.services import open_services

    only = request.config.getoption("--alerts-only")
    groups = matrix.chosen_groups(only)
    longest_seconds = matrix.longest_window_seconds() / FACTOR
    control_seconds = matrix.CONTROL_WINDOWS * longest_seconds if only is None else 0.0
    parameters = {
        "named": list(matrix.named_alerts()) if only is None else [],
        "least_real": matrix.LEAST_REAL if only is None else 0,
        "control_seconds": control_seconds,
        "longest_look_seconds": LONGEST_LOOK_SECONDS,
        "factor": FACTOR,
        "longest_window_seconds": longest_seconds,
    }
    with (
        clause.history(seed=1, **parameters) as history,
        open_services(clause.run_directory, say, VARIABLES) as services,
    ):
        if services.relay is None:
            raise PowerMissingError("this host has no address in the engine's networks: nobody can tell it")
        stack = services.stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS)
        monitoring = stack.monitoring()
        with (
            AlertReceiver(services.relay.address.rpartition(":")[0]) as receiver,
            stack,
            hurried(monitoring, SCALE, receiver, tmp_path / "scaled"),
            AlertWatch(monitoring.prometheus_url) as watch,
            AlertPlatform(stack, tmp_path) as platform,
        ):
            run = MatrixRun(lambda entry: matrix.fault_for(entry, platform, history), watch, receiver, history, say)
            say("warming up ...")
            run.warm_up(longest_seconds)
            if control_seconds:
                say(f"control window: nothing may fire for {control_seconds:.0f} s ...")
                run.control(control_seconds)
            for group in groups:
                say(f"{group.name}:")
                run.carry_out(group)
            run.observe()
    path = write_report(History.read(clause.history_path), clause.run_directory)
    allure.attach.file(path, "fault -> alert matrix", allure.attachment_type.TEXT)  # type: ignore[no-untyped-call]
    drawn = path.with_name(PICTURE)
    # What lies beside a history is shown on the card.
    shutil.copyfile(drawn, clause.history_path / PICTURE)
    allure.attach.file(drawn, "alerts on one clock", allure.attachment_type.SVG)  # type: ignore[no-untyped-call]
    clause.judge()
