"""The card as a short Markdown text, for the summary of a pipeline step, which hosts cut off above a mebibyte."""

from reports.readiness import wording
from reports.readiness.document import CardDocument

LONGEST_BYTES = 1_000_000
_SHOWN = 10


def summary(card: CardDocument) -> str:
    """The text of card.md, at most LONGEST_BYTES; where something had to be left out, its last lines say so."""
    counts = card.counts
    lines = [
        f"## K2 readiness: {wording.score_words(card)}, {card.verdict.decision}",
        "",
        f"{wording.stage_words(card)} The gate asks for {wording.one_decimal(card.ruler.minimum)} "
        f"and exits {card.verdict.exit_code}.",
        "",
        "| proven | failed | unknown | not exercised |",
        "|---:|---:|---:|---:|",
        f"| {counts.proven} | {counts.failed} | {counts.unknown} | {counts.not_exercised} |",
        "",
    ]
    if not card.clauses:
        lines += ["Nothing was executed.", ""]
    elif card.absences:
        lines += [f"Not exercised: {_escaped(wording.absence_words(card))}.", ""]
    lines += ["### Why", "", *(f"- {_escaped(reason)}" for reason in card.verdict.reasons), ""]
    if card.verdict.next_steps:
        steps = (f"{number}. {_escaped(step)}" for number, step in enumerate(card.verdict.next_steps, start=1))
        lines += ["### Next", "", *steps, ""]
    lines += _failures(card)
    if card.waivers:
        lines += ["### Waived", "", *(f"- {_escaped(wording.waiver_words(waiver))}" for waiver in card.waivers), ""]
    if card.flaky:
        told = (f"- `{_escaped(line.clause)}` {_escaped(line.detail)}" for line in card.flaky)
        lines += ["### Flaky", "", *told, ""]
    lines += ["### Stages", "", "| stage | earned | of | |", "|---|---:|---:|---|"]
    lines += [
        f"| {stage.id} {stage.title} | {wording.two_decimals(stage.earned)} | {wording.one_decimal(stage.points)} "
        f"| {wording.parts_words(wording.stage_parts(stage))} |"
        for stage in card.stages
    ]
    origin = f"{_escaped(wording.origin_words(card))}. " if card.runs else ""
    end = f"\n{origin}Ruler version {card.ruler.version}. Details: index.html and card.json of the run.\n"
    return _within_limit("\n".join(lines) + "\n", end)


def _within_limit(text: str, end: str) -> str:
    """The text and its end, cut at a line's end before the end where both are too long."""
    whole = text + end
    if len(whole.encode()) <= LONGEST_BYTES:
        return whole
    notice = "\n**Cut off here: a summary holds 1 MB. The whole is in index.html and card.json of the run.**\n"
    kept = text.encode()[: LONGEST_BYTES - len((notice + end).encode())].decode(errors="ignore")
    return kept[: kept.rfind("\n") + 1] + notice + end


def _failures(card: CardDocument) -> list[str]:
    failed = [clause for clause in card.clauses if clause.verdict == "fail"]
    if not failed:
        return []
    lines = ["### Failed", ""]
    for clause in failed[:_SHOWN]:
        findings = "; ".join(f"{finding.kind}: {finding.detail}" for finding in clause.findings[:3])
        lines.append(f"- `{_escaped(clause.clause)}` ({', '.join(clause.claims)}): {_escaped(clause.reason)}")
        if findings:
            lines.append(f"  - {_escaped(findings)}")
    if len(failed) > _SHOWN:
        lines.append(f"- and {len(failed) - _SHOWN} more")
    return [*lines, ""]


def _escaped(text: str) -> str:
    """Text that stays one line of text in Markdown and in the HTML made of it."""
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "'")):
        text = text.replace(character, replacement)
    return " ".join(text.split())
