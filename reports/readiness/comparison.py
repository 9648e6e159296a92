"""Runs beside earlier runs: what was lost, and how the score went. Only what one ruler measured is compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reports.readiness.assessment import Assessment, assess
from reports.readiness.errors import IncomparableRunsError
from reports.readiness.evidence import RunRecord
from reports.readiness.reading import read_run
from reports.readiness.ruler import SHOWN_CHARACTERS, Ruler
from reports.readiness.scoring import State, round_down


@dataclass(frozen=True, slots=True)
class Point:
    """One run in a trend. `score` is None where its evidence could not be read."""

    run_id: str
    started_at: str
    git_commit: str
    stack: str
    profile: str
    score: float | None
    proven: int
    failed: int
    unknown: int
    not_exercised: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Runs that one ruler measured, the oldest first, and those that were left out with the reason."""

    ruler_version: str
    points: tuple[Point, ...]
    left_out: tuple[str, ...]


def trend(directories: Sequence[Path], ruler: Ruler, today: date, *, refuse: bool) -> Trend:
    """How the score went.

    Args:
        directories: of the runs.
        ruler: the one in use.
        today: the day waivers are judged on.
        refuse: whether a run of another ruler is an error, because it was asked for by name, or is left out.

    Raises:
        IncomparableRunsError: a run that was asked for by name was measured with another ruler.
    """
    points, left_out = [], []
    for directory in directories:
        doubt = incomparable(directory, ruler)
        if doubt and refuse:
            raise IncomparableRunsError(f"{doubt}: scores of two rulers cannot be compared")
        if doubt:
            left_out.append(doubt)
            continue
        points.append(_point(assess([directory], ruler, today)))
    return Trend(ruler.version, tuple(sorted(points, key=lambda point: point.started_at)), tuple(left_out))


def incomparable(directory: Path, ruler: Ruler) -> str:
    """Why a run cannot be measured against others of this ruler; empty if it can."""
    problems: list[str] = []
    run = read_run(directory / "run.json", problems.append)
    if run is None:
        return f"{directory.name}: {problems[0]}"
    if run.ruler != ruler.sha256:
        other = f"with the ruler {run.ruler[:SHOWN_CHARACTERS]}" if run.ruler else "with a ruler it does not name"
        return f"{run.run_id} was measured {other}, this is {ruler.sha256[:SHOWN_CHARACTERS]}"
    return ""


def predecessor(run: RunRecord, candidates: Iterable[Path], ruler: Ruler) -> Path | None:
    """The newest earlier run of the same stack and profile that this ruler measured; None if there is none."""
    found: list[tuple[str, Path]] = []
    for directory in candidates:
        earlier = read_run(directory / "run.json", lambda _: None)
        if (
            earlier is not None
            and earlier.ended_at is not None
            and earlier.started_at < run.started_at
            and (earlier.stack, earlier.profile, earlier.ruler) == (run.stack, run.profile, ruler.sha256)
        ):
            found.append((earlier.started_at.isoformat(), directory))
    return max(found)[1] if found else None


def regressions(before: Assessment, after: Assessment) -> tuple[str, ...]:
    """What an earlier run had and a later one lacks, one sentence each; empty if nothing was lost."""
    since = before.evidence.runs[0].run_id if before.evidence.runs else "the earlier run"
    earned = {result.claim.id: result for result in before.score.claims() if result.earned}
    lost = [
        f"{result.claim.id} was proven in {since}, now {result.state}: {result.reason}"
        for result in after.score.claims()
        if result.claim.id in earned and result.earned < earned[result.claim.id].earned
    ]
    if after.waived_points() < before.waived_points():
        was, now = round_down(before.waived_points(), 1), round_down(after.waived_points(), 1)
        lost.insert(0, f"the score fell from {was} in {since} to {now}")
    return tuple(lost)


def _point(assessment: Assessment) -> Point:
    run = assessment.evidence.runs[0]
    shown = assessment.waived_score()
    claims = assessment.score.claims()
    return Point(
        run_id=run.run_id,
        started_at=run.started_at.isoformat(timespec="seconds"),
        git_commit=(run.git_commit or "")[:SHOWN_CHARACTERS],
        stack=run.stack.value,
        profile=run.profile,
        score=None if shown is None else float(shown),
        **{
            state.value.replace(" ", "_"): sum(result.state is state for result in claims)
            for state in (State.PROVEN, State.FAILED, State.UNKNOWN, State.NOT_EXERCISED)
        },
    )
