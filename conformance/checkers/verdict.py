"""Outcomes, findings and verdicts, and the one way a checker is run.

A failure of the system and a failure of the evidence end in different outcomes: FAIL says the system broke its
promise, UNKNOWN says that this history cannot tell. The worst wins: fail > unknown > pass.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any

from conformance.history import History, HistoryError

MAX_EXAMPLES = 20
DEFAULT_MINIMUM_SAMPLES = 1


class Outcome(StrEnum):
    """The three verdicts."""

    PASS = auto()
    FAIL = auto()
    UNKNOWN = auto()


_FROM_WORST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, however often.

    Attributes:
        kind: what is wrong, one word of the checker's own list: lost, mutated, ...
        detail: where, in words.
        count: how often.
        examples: the first of them, at most MAX_EXAMPLES.
        outcome: FAIL where it is the system's fault, UNKNOWN where it is the evidence's.
    """

    kind: str
    detail: str
    count: int = 1
    examples: tuple[str, ...] = ()
    outcome: Outcome = Outcome.FAIL

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(self.examples[:MAX_EXAMPLES]))

    @property
    def example(self) -> str:
        """The first example, or nothing."""
        return self.examples[0] if self.examples else ""

    def as_json(self) -> dict[str, Any]:
        """The finding as it is kept beside its verdict."""
        return {"kind": self.kind, "detail": self.detail, "count": self.count, "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a history says of the system.

    Attributes:
        outcome: pass, fail or unknown.
        reason: one sentence.
        samples: how many things were judged.
        findings: all that is wrong; empty for a pass.
    """

    outcome: Outcome
    reason: str
    samples: int
    findings: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields a checker contributes to a line of verdicts.jsonl."""
        return {
            "verdict": self.outcome.value,
            "reason": self.reason,
            "samples": self.samples,
            "findings": [finding.as_json() for finding in self.findings],
        }


Checker = Callable[[History], Verdict]


def doubt(kind: str, detail: str, count: int = 1, examples: tuple[str, ...] = ()) -> Finding:
    """A finding about the evidence: it makes the verdict unknown."""
    return Finding(kind, detail, count, examples, Outcome.UNKNOWN)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst outcome; PASS if there is none."""
    found = set(outcomes)
    return next((outcome for outcome in _FROM_WORST if outcome in found), Outcome.PASS)


def conclude(samples: int, findings: Iterable[Finding], passed: str) -> Verdict:
    """The verdict of a checker that judged `samples` things and found this; `passed` is the reason of a pass."""
    found = tuple(sorted(findings, key=lambda finding: _FROM_WORST.index(finding.outcome)))
    outcome = worst(finding.outcome for finding in found)
    return Verdict(outcome, _reason(found) if found else passed, samples, found)


def unknown(kind: str, reason: str, samples: int = 0) -> Verdict:
    """A verdict that the history cannot tell."""
    return Verdict(Outcome.UNKNOWN, reason, samples, (doubt(kind, reason),))


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several verdicts, with all their findings; unknown if there are none."""
    if not verdicts:
        return unknown("nothing_judged", "nothing was judged")
    outcome = worst(verdict.outcome for verdict in verdicts)
    reasons = dict.fromkeys(verdict.reason for verdict in verdicts if verdict.outcome is outcome)
    findings = tuple(finding for verdict in verdicts for finding in verdict.findings)
    return Verdict(outcome, "; ".join(reasons), sum(verdict.samples for verdict in verdicts), findings)


def run_checker(checker: Checker, history: History) -> Verdict:
    """Judge a history; one that is incomplete, too small or that the checker cannot cope with is unknown.

    Too few samples only take a pass away: what failed with few samples has failed all the same.
    """
    if not history.complete:
        return unknown("incomplete_history", "the history has no end line: the run did not finish")
    try:
        minimum = int(history.header.parameters.get("minimum_samples", DEFAULT_MINIMUM_SAMPLES))
        verdict = checker(history)
    except HistoryError as error:
        return unknown("unusable_history", f"the history cannot be judged: {error}")
    except Exception as error:  # noqa: BLE001 - whatever breaks in a checker says nothing about the system
        return unknown("checker_crashed", f"the checker crashed: {type(error).__name__}: {error}")
    if verdict.outcome is Outcome.PASS and verdict.samples < minimum:
        reason = f"{verdict.samples} samples are too few, {minimum} are needed"
        return unknown("too_few_samples", reason, verdict.samples)
    return verdict


def _reason(findings: Sequence[Finding]) -> str:
    shown = [f"{finding.kind}: {finding.detail} ({finding.count})" for finding in findings[:3]]
    if len(findings) > len(shown):
        shown.append(f"and {len(findings) - len(shown)} more findings")
    return "; ".join(shown)
