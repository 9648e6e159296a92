"""The card as one HTML page without a script, font or image from outside; light and dark, phone and print."""

import re
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.readiness import wording
from reports.readiness.document import CardDocument, CheckerLine, ClaimLine, CriterionLine
from reports.readiness.scoring import State

_ORDER = ("failed", "unknown", "partly proven", "proven", "not exercised")
_PLAIN_PATH = re.compile(r"[\w.\-]+(/[\w.\-]+)*")


def page(card: CardDocument) -> str:
    """The text of index.html. Everything taken from the run is escaped."""
    whole = tuple(
        (state, sum(dict(wording.stage_parts(stage))[state] for stage in card.stages)) for state in map(str, State)
    )
    template = _environment().get_template("page.html.j2")
    return template.render(
        card=card,
        score_words=wording.score_words(card),
        stage_words=wording.stage_words(card),
        tiles=_tiles(card),
        whole=whole,
        whole_words=wording.parts_words(whole),
        failures=[clause for clause in card.clauses if clause.verdict == "fail"],
        unknowns=_unknowns(card),
        criteria=_by_stage(card),
        facts=_facts(card),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        one=wording.one_decimal,
        two=wording.two_decimals,
        seconds=wording.seconds,
        moment=wording.moment,
        parts=wording.stage_parts,
        words=wording.parts_words,
        count=wording.count,
        slug=_slug,
        link=_link,
        can_fail=_can_fail,
    )
    return environment


def _slug(state: str) -> str:
    return state.replace(" ", "-")


def _link(history: str) -> str:
    """Address of a history relative to the page; empty for anything that is not a plain path below it."""
    if not _PLAIN_PATH.fullmatch(history) or ".." in history.split("/"):
        return ""
    return quote(history if history.endswith(".jsonl") else f"{history}/history.jsonl")


def _can_fail(checker: CheckerLine) -> bool:
    return checker.planted > 0 and checker.caught == checker.planted and not checker.missed


def _tiles(card: CardDocument) -> tuple[tuple[str, int, str], ...]:
    counts = card.counts
    clauses = f"{wording.count(len(card.clauses), 'clause')} executed" if card.clauses else "nothing was executed"
    return (
        ("proven", counts.proven, clauses),
        ("failed", counts.failed, "refuted by a clause; their criteria earn nothing" if counts.failed else "none"),
        ("unknown", counts.unknown, "the evidence does not decide" if counts.unknown else "none"),
        ("not exercised", counts.not_exercised, wording.absence_words(card)),
    )


def _unknowns(card: CardDocument) -> dict[str, list[ClaimLine]]:
    """Unknown claims by the reason they share."""
    unknowns: dict[str, list[ClaimLine]] = {}
    for criterion in card.criteria:
        for claim in criterion.claims:
            if claim.state == "unknown":
                unknowns.setdefault(claim.reason, []).append(claim)
    return unknowns


def _by_stage(card: CardDocument) -> dict[str, list[CriterionLine]]:
    return {
        stage.id: sorted(
            (criterion for criterion in card.criteria if criterion.stage == stage.id),
            key=lambda criterion: _ORDER.index(criterion.state),
        )
        for stage in card.stages
    }


def _facts(card: CardDocument) -> tuple[tuple[str, str], ...]:
    run = card.run
    memory = f"{run.memory_bytes / 2**30:.1f} GiB" if run.memory_bytes else ""
    commit = f"{run.git_commit[:12]}{' with uncommitted changes' if run.git_dirty else ''}" if run.git_commit else ""
    facts = (
        ("run", run.run_id),
        ("profile", run.profile),
        ("stack", run.stack),
        ("started", wording.moment(run.started_at)),
        ("duration", wording.seconds(run.duration_seconds) if run.ended_at else ""),
        ("commit", commit),
        ("command", run.command),
        ("cores", str(run.cores or "")),
        ("memory", memory),
        ("load average", " ".join(f"{load:.2f}" for load in run.load_average)),
        ("Python", run.python),
        ("kernel", run.kernel),
        ("ruler version", card.ruler.version),
    )
    return tuple((name, value or "not recorded") for name, value in facts)
