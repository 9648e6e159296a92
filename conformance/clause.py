"""What a clause declares, and how its run becomes a history, a verdict and a line of evidence."""

import os
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import allure
import pytest

from conformance.checkers.verdict import Outcome, Verdict
from conformance.history import Header, HistoryWriter, history_sha256
from conformance.judge import judge

NOTE_PROPERTY = "k2_note"
_RUBRIC = Path(__file__).resolve().parents[1] / "reports" / "readiness" / "rubric.toml"
_SEVERITIES = ("blocker", "critical", "normal", "minor")


@dataclass(frozen=True, slots=True)
class ClauseMarker:
    """The arguments of `@pytest.mark.clause`.

    Attributes:
        name: stable name; a parametrised case is added as "name/case".
        claims: ids of conformance/requirements.toml it speaks for.
        checker: which checker judges its history.
        title: one sentence for people.
        minimum_samples: fewer are unknown.
        remedy: where to look when it fails.
    """

    name: str
    claims: tuple[str, ...]
    checker: str
    title: str
    minimum_samples: int = 1
    remedy: str = ""

    @classmethod
    def of(cls, item: pytest.Item) -> Self | None:
        """The marker of a test, if it has one."""
        mark = item.get_closest_marker("clause")
        return cls(**mark.kwargs) if mark is not None else None

    def case_name(self, item: pytest.Item) -> str:
        """The clause's name with the case of a parametrised test."""
        callspec = getattr(item, "callspec", None)
        return f"{self.name}/{callspec.id}" if callspec is not None else self.name

    def matches(self, item: pytest.Item, only: str) -> bool:
        """Whether a name prefix, a claim or a requirement id selects this clause."""
        ids = {*self.claims, *(re.sub(r"[a-z]+$", "", claim) for claim in self.claims)}
        return self.case_name(item).startswith(only) or only in ids

    def suite_line(self, item: pytest.Item) -> dict[str, Any]:
        """A line of clauses.jsonl, which lists what could be run."""
        return {"clause": self.case_name(item), "claims": list(self.claims)}

    def verdict_line(self, item: pytest.Item, verdict: Mapping[str, Any]) -> dict[str, Any]:
        """A line of verdicts.jsonl without history."""
        passed = verdict["verdict"] == Outcome.PASS
        return {
            "clause": self.case_name(item),
            "title": self.title,
            "claims": list(self.claims),
            "remedy": "" if passed else self.remedy,
            "minimum_samples": self.minimum_samples,
            "stack": item.config.getoption("--k2-stack"),
            "seconds": 0.0,
            "checker": self.checker,
            "history": None,
            "history_sha256": None,
            "retries": 0,
            **verdict,
        }


class ClauseRun:
    """One clause being run."""

    def __init__(self, marker: ClauseMarker, item: pytest.Item, run_directory: Path, verdict_property: str) -> None:
        self._marker = marker
        self._item = item
        self.run_directory = run_directory
        self._verdict_property = verdict_property
        self._started = time.monotonic()
        self.name = marker.case_name(item)
        self.history_path = run_directory / "histories" / self.name.replace("/", "-")

    def part(self, name: str, claims: tuple[str, ...], checker: str, title: str, minimum_samples: int = 1) -> Self:
        """Another clause decided by the same run of the stack, with a history and a verdict of its own."""
        marker = replace(
            self._marker, name=name, claims=claims, checker=checker, title=title, minimum_samples=minimum_samples
        )
        return type(self)(marker, self._item, self.run_directory, self._verdict_property)

    def history(self, seed: int = 0, **parameters: Any) -> HistoryWriter:
        """Open the history; `parameters` tell the checker of the plan."""
        header = Header(
            clause=self.name,
            claims=self._marker.claims,
            checker=self._marker.checker,
            seed=seed,
            stack=self._item.config.getoption("--k2-stack"),
            started_wall_ns=time.time_ns(),
            parameters={"minimum_samples": self._marker.minimum_samples, **parameters},
        )
        return HistoryWriter(self.history_path, header)

    def note(self, text: str) -> None:
        """Have a measured figure shown beside the verdict; it belongs into the history as well."""
        self._item.user_properties.append((NOTE_PROPERTY, text))

    def judge(self, measures: Mapping[str, Any] | None = None) -> Verdict:
        """Judge the finished history, keep the verdict as evidence, and fail the test unless it passed.

        Args:
            measures: figures that are kept beside the verdict, for reports to show.
        """
        verdict = judge(self.history_path)
        line = self._marker.verdict_line(self._item, verdict.as_json())
        line |= {
            "seconds": round(time.monotonic() - self._started, 2),
            "history": str(self.history_path.relative_to(self.run_directory)),
            "history_sha256": history_sha256(self.history_path),
            **({} if measures is None else {"measures": dict(measures)}),
        }
        self._item.user_properties.append((self._verdict_property, line))
        allure.attach.file(self.history_path / "history.jsonl", "history", allure.attachment_type.TEXT)  # type: ignore[no-untyped-call]
        if verdict.outcome is not Outcome.PASS:
            findings = "\n".join(f"  {f.kind}: {f.detail} x{f.count} {f.example}" for f in verdict.findings)
            pytest.fail(f"{verdict.outcome.value}: {verdict.reason}\n{findings}", pytrace=False)
        return verdict


def by_profile(*, smoke: int, full: int) -> int:
    """How much of something this run does: enough to notice a defect in minutes, or all that is promised."""
    return full if os.environ.get("PROFILE", "smoke") == "full" else smoke


def allure_labels(marker: ClauseMarker) -> None:
    """Label the running test for Allure: stages are epics, requirements features, the gravest stage its severity.

    `python -m reports allure` completes them with what is known after the run.
    """
    dynamic = allure.dynamic
    dynamic.title(marker.title)  # type: ignore[no-untyped-call]
    dynamic.story(marker.name)  # type: ignore[no-untyped-call]
    dynamic.tag(*marker.claims)  # type: ignore[no-untyped-call]
    requirements = dict.fromkeys(re.sub(r"[a-z]+$", "", claim) for claim in marker.claims)
    stages = {requirement: _stages()[requirement] for requirement in requirements if requirement in _stages()}
    dynamic.feature(*requirements)  # type: ignore[no-untyped-call]
    for requirement in requirements:
        dynamic.link(f"requirements.html#{requirement}", name=requirement)  # type: ignore[no-untyped-call]
    if stages:
        dynamic.epic(*dict.fromkeys(stages.values()))  # type: ignore[no-untyped-call]
        dynamic.severity(min(map(_severity, stages.values()), key=_SEVERITIES.index))  # type: ignore[no-untyped-call]


@cache
def _stages() -> dict[str, str]:
    """Requirement -> its stage in the rubric; empty where there is no rubric to read."""
    if not _RUBRIC.exists():
        return {}
    criteria = tomllib.loads(_RUBRIC.read_text(encoding="utf-8"))["criteria"]
    return {requirement: criterion["stage"] for requirement, criterion in criteria.items()}


def _severity(stage: str) -> str:
    return _SEVERITIES[{"P0": 0, "P1": 1, "P2": 1, "P3": 2, "P4": 2}.get(stage, 3)]
