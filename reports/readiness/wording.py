"""Numbers and states as words, the same on page, summary and terminal. Points are cut, never rounded up."""

from datetime import datetime
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal

from reports.readiness.document import CardDocument, StageLine, WaiverLine

TENTH = Decimal("0.1")
HUNDREDTH = Decimal("0.01")


def one_decimal(points: float) -> str:
    """25.38 -> "25.3"."""
    return str(Decimal(str(points)).quantize(TENTH, rounding=ROUND_DOWN))


def two_decimals(points: float) -> str:
    """0.6666 -> "0.66"."""
    return str(Decimal(str(points)).quantize(HUNDREDTH, rounding=ROUND_DOWN))


def score_words(card: CardDocument) -> str:
    """Such as "25.3 of 100", or "no score" when the evidence could not be read."""
    return "no score" if card.score is None else f"{one_decimal(card.score)} of 100"


def stage_words(card: CardDocument) -> str:
    """The stage reached, and what the next one needs."""
    if card.score is None:
        return "The evidence could not be read, so there is nothing to score."
    ahead = next((stage for stage in card.stages if stage.id != card.stage_reached and _beyond(stage, card)), None)
    reached = f"Stage {card.stage_reached} reached" if card.stage_reached else "No stage reached"
    if ahead is None:
        return "Every stage reached."
    missing = (Decimal(str(ahead.threshold)) - Decimal(str(card.score))).quantize(TENTH, rounding=ROUND_CEILING)
    return f"{reached}; {ahead.id} at {one_decimal(ahead.threshold)} is {missing} points away."


def origin_words(card: CardDocument) -> str:
    """Which runs a card is of, in one line; empty where they did not say."""
    runs = [run for run in card.runs if run.run_id]
    if not runs:
        return ""
    commit = f", commit {runs[0].git_commit[:12]}" if runs[0].git_commit else ""
    dirty = " with uncommitted changes" if any(run.git_dirty for run in runs) else ""
    told = "; ".join(f"{run.run_id} on the {run.stack} stack, {run.profile} profile" for run in runs)
    return f"{'Runs' if len(runs) > 1 else 'Run'} {told}{commit}{dirty}"


def waiver_words(waiver: WaiverLine) -> str:
    """A waiver in one line."""
    lasts = "expired on" if waiver.expired else "until"
    cap = one_decimal(waiver.cap)
    return f"{waiver.claim} {lasts} {waiver.expires}, caps the score at {cap}: {waiver.reason} ({waiver.owner})"


def kill_words(card: CardDocument) -> str:
    """How many planted defects were caught, how many mutants killed, and how many false alarms there were."""
    planted, caught = sum(one.planted for one in card.checkers), sum(one.caught for one in card.checkers)
    clean, alarms = sum(one.clean_runs for one in card.checkers), sum(one.false_alarms for one in card.checkers)
    killed = sum(mutant.verdict == "killed" for mutant in card.mutants)
    return (
        f"{caught} of {count(planted, 'planted defect')} caught, {count(alarms, 'false alarm')} in "
        f"{count(clean, 'clean run')}, {killed} of {count(len(card.mutants), 'mutant')} killed"
    )


def count(number: int, noun: str) -> str:
    """Such as "1 claim" and "1,204 claims"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def absence_words(card: CardDocument, most: int | None = None) -> str:
    """Why claims were not exercised, in one sentence; of `most` reasons at most."""
    if not card.absences:
        return "every claim was exercised" if card.clauses else ""
    told = "; ".join(f"{absence.claims}: {absence.reason}" for absence in card.absences[:most])
    left = 0 if most is None else len(card.absences) - most
    return f"{told}; and {count(left, 'more reason')} below" if left > 0 else told


def stage_parts(stage: StageLine) -> tuple[tuple[str, float], ...]:
    """Where the points of a stage went, by state."""
    return (
        ("proven", stage.earned),
        ("failed", stage.failed),
        ("unknown", stage.unknown),
        ("not exercised", stage.not_exercised),
    )


def parts_words(parts: tuple[tuple[str, float], ...]) -> str:
    """Such as "12.30 proven, 1.00 failed"; states without points are left out."""
    return ", ".join(f"{two_decimals(points)} {state}" for state, points in parts if points > 0)


def seconds(value: float) -> str:
    """A duration with a unit that suits it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def moment(text: str) -> str:
    """An ISO time to the minute: 2026-11-21 09:45 UTC."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return text


def _beyond(stage: StageLine, card: CardDocument) -> bool:
    return card.score is not None and Decimal(str(stage.threshold)) > Decimal(str(card.score))
