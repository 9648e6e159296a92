"""The registry as a page: every requirement, its normative text, its claims, the clauses that cite them."""

from reports.readiness import wording
from reports.readiness.document import CardDocument
from reports.readiness.render.page import environment, stack_columns


def registry_page(card: CardDocument) -> str:
    """The text of requirements.html. Each requirement and each claim is an anchor by its id."""
    areas: dict[str, list[str]] = {}
    for criterion in card.criteria:
        areas.setdefault(criterion.area, []).append(criterion.id)
    clauses = {
        claim.id: list(dict.fromkeys(card.clauses[position].clause for position in claim.evidence))
        for criterion in card.criteria
        for claim in criterion.claims
    }
    return (
        environment()
        .get_template("requirements.html.j2")
        .render(
            card=card,
            areas=areas,
            clauses=clauses,
            stacks=stack_columns(card),
            origin_words=wording.origin_words(card),
        )
    )
