import sys

import pytest

from scripts import check

PASSING = check.Step("lint", "passing", (sys.executable, "-c", ""))
FAILING = check.Step("lint", "failing", (sys.executable, "-c", "raise SystemExit(3)"))


def test_steps_after_a_failure_are_not_run_and_the_summary_says_so() -> None:
    steps = [PASSING, FAILING, PASSING]
    outcomes = check.run(steps)
    assert [outcome.exit_status for outcome in outcomes] == [0, 3]
    lines = check.summary(steps, outcomes).splitlines()
    assert [line.split()[1] for line in lines] == ["passed", "FAILED", "not"]


def test_the_exit_status_is_that_of_the_step_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STEPS", (PASSING, FAILING))
    assert check.main(["lint"]) == 3


def test_only_the_groups_asked_for_run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    other = check.Step("unit", "other", FAILING.command)
    monkeypatch.setattr(check, "STEPS", (PASSING, other))
    assert check.main(["lint"]) == 0
    assert "other" not in capfd.readouterr().out


def test_a_misspelt_group_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        check.main(["lnit"])
    assert refusal.value.code == 2
    assert "lnit" in capsys.readouterr().err
