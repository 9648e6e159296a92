"""Clauses that did not end the same way each time: retried within a run, or told differently by runs on one stack."""

from reports.readiness.evidence import Evidence, Exhibit, Verdict
from reports.readiness.registry import Stack


def flaky_clauses(evidence: Evidence) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Clause -> what it did, and the claims it cites; in the order of the evidence."""
    told: dict[tuple[str, Stack], list[Exhibit]] = {}
    for exhibit in evidence.exhibits:
        told.setdefault((exhibit.line.clause, exhibit.line.stack), []).append(exhibit)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for (clause, stack), exhibits in told.items():
        verdicts = dict.fromkeys(exhibit.line.verdict for exhibit in exhibits)
        retries = sum(exhibit.line.retries for exhibit in exhibits)
        claims = exhibits[0].line.claims
        if len(verdicts) > 1:
            told_by = ", ".join(f"{_name(evidence, exhibit)} {exhibit.line.verdict}" for exhibit in exhibits)
            found[clause] = (f"on the {stack} stack: {told_by}", claims)
        elif retries and Verdict.PASS in verdicts:
            times = f"{retries} retries" if retries > 1 else "1 retry"
            found[clause] = (f"on the {stack} stack: passed only after {times}", claims)
    return found


def _name(evidence: Evidence, exhibit: Exhibit) -> str:
    known = exhibit.run < len(evidence.runs) and len(evidence.runs) == len(evidence.directories)
    return evidence.runs[exhibit.run].run_id if known else f"run {exhibit.run + 1}"
