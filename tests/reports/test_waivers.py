"""What is put up with for a while: it caps, ends, and never raises."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.readiness.assessment import judged
from reports.readiness.card import document
from reports.readiness.errors import RulerError
from reports.readiness.gate import Decision
from reports.readiness.render.page import page
from reports.readiness.render.summary import summary
from reports.readiness.waivers import Waiver, load_waivers
from tests.reports.crafted_run import (
    CLAIM_IDS,
    REGISTRY,
    ROOT,
    RULER,
    TODAY,
    assessed,
    everything_proven,
    verdict,
    write_run,
)
from tests.reports.generated_evidence import EVIDENCE

FAILING = verdict("stop", "CON-3a", verdict="fail", reason="the batch in hand was dropped", stack="external")
EXAMPLE = (ROOT / "docs" / "examples" / "waivers.toml").read_text(encoding="utf-8")


def waiver(claim: str = "CON-3a", **changes: Any) -> Waiver:
    granted, expires = TODAY - timedelta(days=10), TODAY + timedelta(days=10)
    made = Waiver(claim, "market data team", "the drain is being rewritten", granted, expires, Decimal(90))
    return replace(made, **changes)


def test_an_active_waiver_lets_its_claim_fail_and_caps_the_score(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*everything_proven(), FAILING])
    without, waived = assessed(run), assessed(run, waivers=(waiver(),))
    assert without.gate().decision is Decision.SYSTEM_FAILED
    verdict_of_gate = waived.gate()
    assert verdict_of_gate.decision is Decision.PASSED
    assert (waived.shown_score(), waived.waived_score()) == (Decimal("94.0"), Decimal("90.0"))
    assert verdict_of_gate.reasons[-1] == "waived: CON-3a failed: stop: the batch in hand was dropped"


def test_a_waiver_of_what_is_proven_still_caps(tmp_path: Path) -> None:
    made = document(assessed(write_run(tmp_path, everything_proven()), waivers=(waiver(),)))
    assert (made.score, made.waived_score, made.stage_reached) == (100.0, 90.0, "P2")


def test_another_claim_still_fails_the_gate(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*everything_proven(), FAILING])
    assert assessed(run, waivers=(waiver("CON-3b"),)).gate().decision is Decision.SYSTEM_FAILED


def test_an_expired_waiver_fails_the_gate_even_where_all_is_proven(tmp_path: Path) -> None:
    run = write_run(tmp_path, everything_proven())
    last_day, late = waiver(expires=TODAY), waiver(expires=TODAY - timedelta(days=1))
    assert assessed(run, waivers=(last_day,)).gate().decision is Decision.PASSED
    gate = assessed(run, waivers=(late,)).gate()
    assert (gate.decision, gate.decision.exit_code) == (Decision.SYSTEM_FAILED, 1)
    assert (
        gate.reasons[0]
        == f"the waiver of CON-3a expired on {late.expires}: market data team mends it or asks for a new one"
    )


def test_a_waiver_is_shown_with_owner_reason_and_end(tmp_path: Path) -> None:
    made = document(assessed(write_run(tmp_path, [FAILING]), waivers=(waiver(),)))
    words = "CON-3a until 2026-12-01, caps the score at 90.0: the drain is being rewritten (market data team)"
    assert words in page(made)
    assert words in summary(made)


@settings(max_examples=40, deadline=None)
@given(EVIDENCE, st.sampled_from(CLAIM_IDS), st.integers(0, 99), st.integers(-5, 5))
def test_a_waiver_never_raises_and_always_caps(evidence: Any, claim: str, cap: int, days: int) -> None:
    expires = TODAY + timedelta(days=days)
    one = waiver(claim, cap=Decimal(cap), granted=TODAY - timedelta(days=30), expires=expires)
    plain = judged(evidence, RULER, TODAY)
    waived = judged(evidence, replace(RULER, waivers=(one,)), TODAY)
    assert waived.score.points == plain.score.points
    assert waived.waived_points() <= plain.score.points
    assert waived.waived_points() <= cap
    if days < 0:
        assert waived.gate().decision is Decision.SYSTEM_FAILED


def test_the_example_is_well_formed_and_the_projects_own_file_has_none() -> None:
    example = load_waivers(ROOT / "docs" / "examples" / "waivers.toml", REGISTRY)
    assert len(example) == 1
    assert load_waivers(ROOT / "reports" / "readiness" / "waivers.toml", REGISTRY) == ()


def test_without_a_file_there_is_no_waiver(tmp_path: Path) -> None:
    assert load_waivers(tmp_path / "waivers.toml", REGISTRY) == ()


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('claim = "OBS-6a"', 'claim = "OBS-6z"', "OBS-6z is no claim of the registry"),
        ('claim = "OBS-6a"', 'claim = "OBS-6"', "OBS-6 is no claim of the registry"),
        ('owner = "observability team"\n', "", "waiver.0.owner: Field required"),
        ('owner = "observability team"', 'owner = " "', "has no owner or no reason"),
        ("expires = 2026-12-20", "expires = 2027-12-20", "a waiver lasts 0 to 90 days"),
        ("expires = 2026-12-20", "expires = 2026-10-20", "a waiver lasts 0 to 90 days"),
        ("expires = 2026-12-20\n", "", "waiver.0.expires: Field required"),
        ("cap = 95", "cap = 100", "a cap is below 100 points"),
        ("cap = 95", "raise = 5", "waiver.0"),
    ],
)
def test_a_waiver_that_says_too_little_or_too_much_is_refused(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    assert before in EXAMPLE
    path = tmp_path / "waivers.toml"
    path.write_text(EXAMPLE.replace(before, after))
    with pytest.raises(RulerError) as caught:
        load_waivers(path, REGISTRY)
    assert complaint in str(caught.value)


def test_a_claim_waived_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(f"{EXAMPLE}\n{EXAMPLE}")
    with pytest.raises(RulerError, match="OBS-6a is waived twice"):
        load_waivers(path, REGISTRY)


def test_the_day_matters_and_is_told(tmp_path: Path) -> None:
    assert not waiver(expires=date(2026, 11, 21)).expired(date(2026, 11, 21))
    assert waiver(expires=date(2026, 11, 21)).expired(date(2026, 11, 22))
