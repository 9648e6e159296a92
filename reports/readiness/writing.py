"""Writes a card in all its forms, with the pictures of its histories."""

import os
from pathlib import Path

from reports.readiness.assessment import Assessment
from reports.readiness.card import document
from reports.readiness.document import CardDocument
from reports.readiness.errors import CardError
from reports.readiness.render.forms import rendered

LARGEST_PICTURES_BYTES = 4_000_000
_GRAVITY = ("fail", "unknown", "pass")


def write_card(assessment: Assessment, into: Path) -> tuple[CardDocument, list[Path]]:
    """Write the card to a directory; returns it with the files written.

    Raises:
        CardError: the directory cannot be written to.
    """
    made = document(assessment, into)
    texts = rendered(made, pictures(assessment, made))
    try:
        into.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            partial = into / f".{name}.{os.getpid()}"
            partial.write_text(text, encoding="utf-8")
            partial.replace(into / name)
    except OSError as error:
        raise CardError(f"the card cannot be written to {into}: {error.strerror}") from error
    return made, [into / name for name in texts]


def pictures(assessment: Assessment, card: CardDocument) -> dict[str, bytes]:
    """SVG pictures of histories, by the position of their run and their path; of the gravest clauses as many as fit."""
    found: dict[str, bytes] = {}
    left = LARGEST_PICTURES_BYTES
    for line in sorted(card.clauses, key=lambda line: _GRAVITY.index(line.verdict)):
        directory = assessment.evidence.directories[line.run]
        for figure in line.figures:
            path = directory / figure
            if path.suffix != ".svg" or path.stat().st_size > left:
                continue
            found[f"{line.run}/{figure}"] = path.read_bytes()
            left -= len(found[f"{line.run}/{figure}"])
    return found
