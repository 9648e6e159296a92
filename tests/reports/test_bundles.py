"""One archive that leads to one verdict."""

import json
import tarfile
from pathlib import Path

import pytest

from reports.readiness.bundle import find_exhibit, write_bundle
from reports.readiness.errors import CardError
from reports.readiness.reading import read_evidence
from tests.reports.crafted_run import REGISTRY, RULER, verdict, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two cases of a clause, and logs of one of them."""
    lines = [verdict("kill/poll", "CON-3b", verdict="fail", reason="3 lost"), verdict("kill/write", "CON-3b")]
    directory = write_run(tmp_path / "run", lines)
    logs = directory / "logs" / "test_kill"
    logs.mkdir(parents=True)
    (logs / "01-broker.log").write_text("up\n")
    return directory


def test_a_bundle_is_a_run_of_one_verdict_with_what_it_takes_to_reproduce_it(run: Path, tmp_path: Path) -> None:
    evidence = read_evidence([run], REGISTRY)
    exhibit = find_exhibit(evidence, "kill/poll")
    archive = write_bundle(evidence, exhibit, RULER, tmp_path / "one.tar.gz", run / "logs" / "test_kill")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "out", filter="data")
    unpacked = tmp_path / "out" / "one"
    alone = read_evidence([unpacked], REGISTRY)
    assert alone.problems == ()
    assert [(one.line.clause, one.gap) for one in alone.exhibits] == [("kill/poll", "")]
    assert (unpacked / "logs" / "test_kill" / "01-broker.log").read_text() == "up\n"
    readme = (unpacked / "README.md").read_text()
    for words in (
        "kill/poll on the embedded stack",
        "3 lost",
        "python -m conformance judge one",
        "exits 1",
        "8a51c0de",
    ):
        assert words in readme


def test_a_bundle_of_the_same_evidence_is_the_same_bytes(run: Path, tmp_path: Path) -> None:
    evidence = read_evidence([run], REGISTRY)
    exhibit = find_exhibit(evidence, "kill/write")
    archives = [write_bundle(evidence, exhibit, RULER, tmp_path / place / "one.tar.gz") for place in "ab"]
    assert archives[0].read_bytes() == archives[1].read_bytes()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("kill", "kill stands for 2 clauses, name one: kill/poll, kill/write"),
        ("kill/pol1", "no clause kill/pol1 was executed; did you mean kill/poll?"),
        ("nothing", "no clause nothing was executed"),
    ],
)
def test_a_clause_that_is_not_named_clearly_is_refused(run: Path, name: str, complaint: str) -> None:
    with pytest.raises(CardError) as caught:
        find_exhibit(read_evidence([run], REGISTRY), name)
    assert str(caught.value) == complaint


def test_the_only_name_that_begins_so_is_enough(run: Path) -> None:
    assert find_exhibit(read_evidence([run], REGISTRY), "kill/w").line.clause == "kill/write"


def test_a_verdict_without_a_history_cannot_be_reproduced(tmp_path: Path) -> None:
    evidence = read_evidence([write_run(tmp_path, [verdict("kill", "CON-3b", history=None)])], REGISTRY)
    with pytest.raises(CardError, match="kill: it names no history with a hash, so nothing can be reproduced"):
        write_bundle(evidence, find_exhibit(evidence, "kill"), RULER, tmp_path / "one.tar.gz")


def test_only_the_line_of_the_clause_is_in_the_bundle(run: Path, tmp_path: Path) -> None:
    evidence = read_evidence([run], REGISTRY)
    archive = write_bundle(evidence, find_exhibit(evidence, "kill/write"), RULER, tmp_path / "one.tar.gz")
    with tarfile.open(archive) as packed:
        kept = packed.extractfile("one/verdicts.jsonl")
        assert kept is not None
        assert json.loads(kept.read())["clause"] == "kill/write"
        assert not any("kill-poll" in name for name in packed.getnames())
