"""From run directories to a judgement: read, score, find remedies, decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from reports.readiness.evidence import Evidence
from reports.readiness.gate import GateVerdict, decide
from reports.readiness.reading import read_evidence
from reports.readiness.registry import Stack
from reports.readiness.remedies import Remedy, remedies
from reports.readiness.ruler import Ruler
from reports.readiness.scoring import Score, round_down, score
from reports.readiness.waivers import waived_points


@dataclass(frozen=True, slots=True)
class Assessment:
    """One run, or several of one commit, judged on a day (which waivers are active depends on it)."""

    ruler: Ruler
    evidence: Evidence
    score: Score
    remedies: tuple[Remedy, ...]
    today: date

    def gate(self, minimum: Decimal | None = None, regressions: Sequence[str] = ()) -> GateVerdict:
        """The gate's decision, at the rubric's minimum unless another is given."""
        least = self.ruler.rubric.gate.minimum if minimum is None else minimum
        return decide(
            self.evidence,
            self.score,
            self.remedies,
            least,
            self.ruler.waivers,
            today=self.today,
            regressions=regressions,
        )

    def waived_points(self) -> Fraction:
        """The points that count while waivers are there."""
        return waived_points(self.score.points, self.ruler.waivers)

    def shown_score(self) -> Decimal | None:
        """The score with one decimal, never rounded up; None when the evidence could not be read."""
        return None if self.evidence.problems else round_down(self.score.points, 1)

    def waived_score(self) -> Decimal | None:
        """As the score, under the caps of the waivers."""
        return None if self.evidence.problems else round_down(self.waived_points(), 1)

    def scores_by_stack(self) -> dict[Stack, Score]:
        """What each stack alone shows."""
        return {
            stack: score(self.ruler.registry, self.ruler.rubric, self.evidence.on(stack))
            for stack in self.evidence.stacks()
        }


def assess(directories: Sequence[Path], ruler: Ruler, today: date) -> Assessment:
    """Read and judge run directories.

    Raises:
        IncomparableRunsError: they are of different commits, or were measured with different rulers.
    """
    return judged(read_evidence(directories, ruler.registry, ruler.sha256), ruler, today)


def judged(evidence: Evidence, ruler: Ruler, today: date) -> Assessment:
    """Judge evidence."""
    scored = score(ruler.registry, ruler.rubric, evidence)
    return Assessment(ruler, evidence, scored, remedies(scored), today)
