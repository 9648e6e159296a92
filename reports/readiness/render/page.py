"""The card as one HTML page without a script, font or image from outside; light and dark, phone and print."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.readiness import wording
from reports.readiness.document import CardDocument, CheckerLine, ClaimLine, ClauseLine, CriterionLine, RunLine
from reports.readiness.scoring import State

_ORDER = ("failed", "unknown", "partly proven", "proven", "not exercised")
_USUAL_STACKS = ("embedded", "containers")
_SLOWEST = 10
_PLAIN_PATH = re.compile(r"[\w.\-]+(/[\w.\-]+)*")


@dataclass(frozen=True, slots=True)
class ClauseRow:
    """A clause with what became of it on each stack, in the order of the table's columns; None where it did not run."""

    clause: str
    claims: tuple[str, ...]
    cells: tuple[ClauseLine | None, ...]


def page(card: CardDocument, figures: Mapping[str, bytes] | None = None) -> str:
    """The text of index.html. Everything taken from the run is escaped, and pictures stay pictures.

    Args:
        card: the published document.
        figures: SVG pictures to show, by the path of `ClauseLine.figures` and the run's position: "0/histories/...".
    """
    whole = tuple(
        (state, sum(dict(wording.stage_parts(stage))[state] for stage in card.stages)) for state in map(str, State)
    )
    template = environment().get_template("page.html.j2")
    stacks = stack_columns(card)
    return template.render(
        card=card,
        score_words=wording.score_words(card),
        stage_words=wording.stage_words(card),
        origin_words=wording.origin_words(card),
        tiles=_tiles(card),
        whole=whole,
        whole_words=wording.parts_words(whole),
        failures=[clause for clause in card.clauses if clause.verdict == "fail"],
        unknowns=_unknowns(card),
        criteria=_by_stage(card),
        stacks=stacks,
        rows=clause_rows(card, stacks),
        slowest=sorted(card.clauses, key=lambda clause: -clause.seconds)[:_SLOWEST],
        kills=wording.kill_words(card),
        environments=[(run, _facts(run)) for run in card.runs],
        figures={path: _data_address(content) for path, content in (figures or {}).items()},
    )


def _data_address(picture: bytes) -> str:
    """A picture as an address that holds it. As an image it runs no script and loads nothing, whatever it says."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture).decode("ascii")


def stack_columns(card: CardDocument) -> tuple[str, ...]:
    """The stacks a table has columns for: the two a card needs to be whole, and any other that ran."""
    return tuple(dict.fromkeys((*_USUAL_STACKS, *card.stacks)))


def clause_rows(card: CardDocument, stacks: tuple[str, ...]) -> tuple[ClauseRow, ...]:
    """Every executed clause with its worst verdict on each stack; those that differ or did not pass come first."""
    order = ("fail", "unknown", "pass")
    found: dict[str, dict[str, ClauseLine]] = {}
    for line in card.clauses:
        on_stacks = found.setdefault(line.clause, {})
        known = on_stacks.get(line.stack, line)
        on_stacks[line.stack] = min(known, line, key=lambda one: order.index(one.verdict))
    rows = [
        ClauseRow(clause, next(iter(on_stacks.values())).claims, tuple(on_stacks.get(stack) for stack in stacks))
        for clause, on_stacks in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (min(order.index(c.verdict) for c in row.cells if c), row.clause)))


def environment() -> Environment:
    """The templates, with the filters they use. Everything is escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        one=wording.one_decimal,
        two=wording.two_decimals,
        seconds=wording.seconds,
        moment=wording.moment,
        parts=wording.stage_parts,
        words=wording.parts_words,
        count=wording.count,
        waiver_words=wording.waiver_words,
        slug=_slug,
        link=_link,
        can_fail=_can_fail,
        ticked=_ticked,
        pair=lambda line: (line.stack, line.state),
    )
    return made


def _slug(state: str) -> str:
    return state.replace(" ", "-")


def _link(path: str, directory: str) -> str:
    """Address of a file of a run, relative to the page; empty for anything that is not a plain path below the run."""
    if not _PLAIN_PATH.fullmatch(path) or ".." in path.split("/"):
        return ""
    return quote(path if directory in ("", ".") else f"{directory}/{path}")


def _ticked(text: str) -> Markup:
    """Text whose parts between backticks are code."""
    parts = escape(text).split("`")
    # Without a closing backtick the last one is only a character.
    if len(parts) % 2 == 0:
        parts[-2:] = [parts[-2] + Markup("`") + parts[-1]]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def _can_fail(checker: CheckerLine) -> bool:
    return checker.planted > 0 and checker.caught == checker.planted and not checker.missed


def _tiles(card: CardDocument) -> tuple[tuple[str, int, str], ...]:
    counts = card.counts
    clauses = f"{wording.count(len(card.clauses), 'clause')} executed" if card.clauses else "nothing was executed"
    return (
        ("proven", counts.proven, clauses),
        ("failed", counts.failed, "refuted by a clause; their criteria earn nothing" if counts.failed else "none"),
        ("unknown", counts.unknown, "the evidence does not decide" if counts.unknown else "none"),
        ("not exercised", counts.not_exercised, wording.absence_words(card, most=2)),
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


def _facts(run: RunLine) -> tuple[tuple[str, str], ...]:
    memory = f"{run.memory_bytes / 2**30:.1f} GiB" if run.memory_bytes else ""
    commit = f"{run.git_commit[:12]}{' with uncommitted changes' if run.git_dirty else ''}" if run.git_commit else ""
    facts = (
        ("run", run.run_id),
        ("profile", run.profile),
        ("stack", run.stack),
        ("started", wording.moment(run.started_at)),
        ("time to verdict", wording.seconds(run.duration_seconds) if run.ended_at else ""),
        ("commit", commit),
        ("command", run.command),
        ("cores", str(run.cores or "")),
        ("memory", memory),
        ("load average at start", " ".join(f"{load:.2f}" for load in run.load_average)),
        ("Python", run.python),
        ("kernel", run.kernel),
        ("ruler of the run", run.ruler[:12]),
    )
    return tuple((name, value or "not recorded") for name, value in facts)
