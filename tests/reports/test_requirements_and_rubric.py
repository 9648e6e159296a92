"""The registry and the rubric speak of the same ids, and a contradiction in either is refused in one line."""

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from reports.readiness.errors import RulerError
from reports.readiness.registry import Need, Stack, load_registry
from reports.readiness.rubric import load_rubric
from tests.reports.crafted_run import CLAIM_IDS, REGISTRY, ROOT, RUBRIC

REQUIREMENTS_TEXT = (ROOT / "conformance" / "requirements.toml").read_text(encoding="utf-8")
RUBRIC_TEXT = (ROOT / "reports" / "readiness" / "rubric.toml").read_text(encoding="utf-8")
AREAS = {
    "REC": 5, "PRO": 4, "SEQ": 7, "DUP": 2, "CON": 7, "DLQ": 3, "RES": 4, "ICE": 5, "QRY": 4, "POOL": 3, "API": 5,
    "OBS": 8, "OPS": 6, "HAR": 7, "PERF": 6,
}  # fmt: skip
REC_1 = 'REC-1 = { stage = "P0", weight = 3.0 }'


def test_every_requirement_of_every_area_is_registered() -> None:
    expected = [f"{area}-{number}" for area, size in AREAS.items() for number in range(1, size + 1)]
    assert Counter(requirement.id for requirement in REGISTRY.requirement) == Counter(expected)


def test_every_requirement_has_exactly_one_criterion() -> None:
    assert set(RUBRIC.criteria) == {requirement.id for requirement in REGISTRY.requirement}


def test_weights_add_up_to_the_points_of_each_stage_and_to_100() -> None:
    sums = Counter[str]()
    for criterion in RUBRIC.criteria.values():
        sums[criterion.stage] += criterion.weight  # type: ignore[assignment]
    assert sums == {
        "P0": Decimal(82), "P1": Decimal(4), "P2": Decimal(3), "P3": Decimal(3), "P4": Decimal(3), "beyond": Decimal(5),
    }  # fmt: skip


def test_stages_are_reached_at_the_cumulative_scores() -> None:
    assert [int(threshold) for _, threshold in RUBRIC.thresholds()] == [82, 86, 89, 92, 95, 100]


def test_the_gate_asks_for_the_first_stage() -> None:
    assert RUBRIC.gate.minimum == RUBRIC.thresholds()[0][1]


def test_claims_are_lettered_from_a_without_a_hole() -> None:
    for requirement in REGISTRY.requirement:
        letters = "abcdefghijklmnopqrstuvwxyz"[: len(requirement.claims)]
        assert [claim.id for claim in requirement.claims] == [f"{requirement.id}{letter}" for letter in letters]


def test_every_text_is_normative_and_every_claim_one_sentence() -> None:
    for requirement in REGISTRY.requirement:
        assert re.search(r"\b(MUST|SHOULD|MAY)\b", requirement.text), requirement.id
        for claim in requirement.claims:
            assert claim.text[0].isupper() or claim.text[0].isdigit(), claim.id
            assert claim.text.endswith("."), claim.id


@pytest.mark.parametrize(
    ("need", "stacks"),
    [
        (Need.ANY, {Stack.EMBEDDED, Stack.CONTAINERS, Stack.EXTERNAL}),
        (Need.CONTAINERS, {Stack.CONTAINERS, Stack.EXTERNAL}),
        (Need.EXTERNAL, {Stack.EXTERNAL}),
    ],
)
def test_a_need_is_met_by_its_stack_and_by_stronger_ones(need: Need, stacks: set[Stack]) -> None:
    assert {stack for stack in Stack if need.met_by(stack)} == stacks


def test_a_claim_leads_to_its_requirement_and_an_unknown_id_to_none() -> None:
    assert {REGISTRY.requirement_of(claim).id for claim in CLAIM_IDS} == set(RUBRIC.criteria)  # type: ignore[union-attr]
    assert REGISTRY.requirement_of("CON-33") is None


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('id = "REC-1b"', 'id = "REC-1a"', "REC-1a is there twice"),
        ('id = "REC-2"\n', 'id = "REC-1"\n', "REC-1 is there twice"),
        ('id = "REC-1b"', 'id = "REC-2b"', "REC-2b is not a claim of REC-1"),
        ('needs = "any"', 'needs = "some"', "needs: Input should be 'any', 'containers' or 'external'"),
        ('area = "records"', 'aera = "records"', "requirement.0.area"),
        ("[[requirement]]", "[[requirement]", "is not TOML"),
    ],
)
def test_a_broken_registry_is_refused_by_name(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    assert before in REQUIREMENTS_TEXT
    path = tmp_path / "requirements.toml"
    path.write_text(REQUIREMENTS_TEXT.replace(before, after, 1))
    with pytest.raises(RulerError, match=re.escape(complaint)) as caught:
        load_registry(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (REC_1, "", "the weights of P0 add up to 79.0, not 82"),
        (REC_1, REC_1.replace("REC-1", "REC-9"), "REC-1 is a requirement without a criterion"),
        ("PERF-6 =", "PERF-7 =", "PERF-6 is a requirement without a criterion"),
        ("REC-2a = 100", "REC-1a = 100", "minimum_samples of REC-2 names REC-1a"),
        ("REC-2a = 100", "REC-2a = 0", "minimum_samples of REC-2a is 0"),
        ("minimum = 82", "minimum = 101", "gate.minimum is 101"),
        ("points = 5", "points = 6", "the stages do not add up to 100"),
        ("weight = 3.0", "weight = -3.0", "a weight is more than 0"),
        ('stage = "P4"', 'stage = "P9"', "the stage P9, which is not declared"),
        ("weight = 3.0", "wieght = 3.0", "criteria.REC-1.weight"),
    ],
)
def test_a_broken_rubric_is_refused_by_name(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    assert before in RUBRIC_TEXT
    path = tmp_path / "rubric.toml"
    path.write_text(RUBRIC_TEXT.replace(before, after, 1))
    with pytest.raises(RulerError, match=re.escape(complaint)):
        load_rubric(path, REGISTRY)


def test_a_missing_ruler_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RulerError, match="cannot be read: No such file"):
        load_registry(tmp_path / "requirements.toml")
