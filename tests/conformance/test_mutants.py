"""Mutants: killed, survived or unknown, on a small project of their own; and those of this project still apply."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conformance.mutants import Mutant, exercised, listed, run_mutant

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = ROOT / "conformance" / "mutants"
CLAUSE = """
import pytest
from conformance.drivers.facts import record_fact
from k2.promise import ANSWER

@pytest.mark.clause(name="promise", claims=("CON-3b",), checker="facts", title="The answer is 42")
def test_promise(clause):
    with clause.history() as history:
        record_fact(history, "answer", 42, lambda: ANSWER)
    clause.judge()
"""
PATCH = """diff --git a/k2/promise.py b/k2/promise.py
--- a/k2/promise.py
+++ b/k2/promise.py
@@ -1 +1 @@
-{before}
+{after}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one promise and the clause that guards it."""
    without_clauses = shutil.ignore_patterns("test_*.py", "__pycache__")
    for name in ("k2", "conformance"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without_clauses)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "k2/promise.py").write_text("ANSWER = 42\n")
    (tmp_path / "conformance/clauses/test_promise.py").write_text(CLAUSE)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "clause", "verdict", "reason"),
    [
        ("ANSWER = 42", "ANSWER = 41", "promise", "killed", "promise: differs: answer is 41, must be 42"),
        ("ANSWER = 42", "ANSWER = 40 + 2", "promise", "survived", "promise passed although it is broken"),
        ("ANSWER = 43", "ANSWER = 41", "promise", "unknown", "the patch does not apply"),
        ("ANSWER = 42", "ANSWER = 41", "another", "unknown", "no clause ran"),
    ],
)
def test_what_becomes_of_a_mutant(
    project: Path, before: str, after: str, clause: str, verdict: str, reason: str
) -> None:
    (project / "conformance/mutants/crafted.patch").write_text(PATCH.format(before=before, after=after))
    result = run_mutant(project, Mutant("crafted", clause, "it is broken"))
    assert (result.mutant, result.clause, result.verdict) == ("crafted", clause, verdict)
    assert reason in result.reason
    assert (project / "k2/promise.py").read_text() == "ANSWER = 42\n"


def test_a_mutant_is_tried_by_runs_on_the_stack_its_clause_needs() -> None:
    tried = {
        stack: {mutant.name for mutant in exercised(ROOT, stack)} for stack in ("embedded", "containers", "external")
    }
    assert "breaker_never_closes" in tried["embedded"]
    assert "acknowledged_by_the_leader_alone" in tried["containers"]
    assert tried["embedded"] & tried["containers"] == set() == tried["external"]
    assert tried["embedded"] | tried["containers"] == {mutant.name for mutant in listed(ROOT)}


def test_every_patch_is_listed_and_every_listed_one_is_there() -> None:
    names = [mutant.name for mutant in listed(ROOT)]
    assert sorted(names) == sorted(path.stem for path in MUTANTS.glob("*.patch"))


@pytest.mark.parametrize("mutant", listed(ROOT), ids=lambda mutant: mutant.name)
def test_a_mutant_applies_to_the_code_as_it_is_and_names_a_clause(mutant: Mutant) -> None:
    patch = MUTANTS / f"{mutant.name}.patch"
    checked = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    clauses = "".join(path.read_text() for path in (ROOT / mutant.suite).glob("test_*.py"))
    declared = set(re.findall(r'name="([^"]+)"', clauses))
    assert any(mutant.clause.startswith(name) or name.startswith(mutant.clause) for name in declared)
