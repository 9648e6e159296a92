"""All forms of the card, by the names of their files."""

from collections.abc import Callable, Mapping
from typing import Final

from reports.readiness.document import CardDocument, to_json
from reports.readiness.render.badge import badge
from reports.readiness.render.junit import junit
from reports.readiness.render.page import page
from reports.readiness.render.registry_page import registry_page
from reports.readiness.render.sarif import sarif
from reports.readiness.render.summary import summary

PAGE: Final = "index.html"
FORMS: Final[Mapping[str, Callable[[CardDocument], str]]] = {
    "card.json": to_json,
    "card.md": summary,
    PAGE: page,
    "requirements.html": registry_page,
    "card.junit.xml": junit,
    "card.sarif": sarif,
    "badge.svg": badge,
}


def rendered(card: CardDocument, figures: Mapping[str, bytes] | None = None) -> dict[str, str]:
    """File name -> text.

    Args:
        card: the published document.
        figures: pictures to show on the page, by the paths its clauses give, below the run's directory.
    """
    return {name: page(card, figures) if name == PAGE else form(card) for name, form in FORMS.items()}
