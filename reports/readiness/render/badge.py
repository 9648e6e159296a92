"""The score as a badge: one SVG of two plates, drawn without anything from outside."""

from xml.sax.saxutils import escape, quoteattr

from reports.readiness import wording
from reports.readiness.document import CardDocument

LABEL = "K2 readiness"
# White words on each of them have a contrast of at least 4.5 to 1.
_COLOURS = {"pass": "#176b43", "system failed": "#a9231b", "not enough evidence": "#8a5a00", "harness broke": "#545b63"}
_PLATE = "#3a4149"
_CHARACTER_WIDTH = 6.6
_PADDING = 12


def badge(card: CardDocument) -> str:
    """The text of badge.svg: the score that counts, or what stands in its way, on the colour of the decision."""
    score = card.waived_score
    words = "no score" if score is None else f"{wording.one_decimal(score)} of 100"
    if card.verdict.decision != "pass":
        words = f"{words}, {card.verdict.decision}"
    left, right = _width(LABEL), _width(words)
    middle = left + right / 2
    title = escape(f"{LABEL}: {words}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f"aria-label={quoteattr(f'{LABEL}: {words}')}>\n"
        f"<title>{title}</title>\n"
        f'<rect width="{left + right}" height="20" rx="3" fill="{_PLATE}"/>\n'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" '
        f'fill="{_COLOURS[card.verdict.decision]}"/>\n'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
        f'<text x="{left / 2}" y="14" textLength="{left - _PADDING}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(LABEL)}</text>\n"
        f'<text x="{middle}" y="14" textLength="{right - _PADDING}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(words)}</text>\n"
        "</g>\n</svg>\n"
    )


def _width(words: str) -> int:
    return round(len(words) * _CHARACTER_WIDTH) + _PADDING
