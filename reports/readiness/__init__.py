"""The readiness card, in the order evidence travels.

    registry.py, rubric.py, waivers.py   what is promised, what it is worth, what is put up with
    ruler.py                             all three and the checkers under one version
    evidence.py, reading.py, histories.py  what runs left behind, and every reason not to trust it
    scoring.py                           judges claim by claim and adds up; pure, exact
    remedies.py, flaky.py, gate.py       what to do next, what wavers, what is decided
    assessment.py                        all of that for the runs of one commit
    card.py, document.py                 laid out as the published document
    render/                              page, summary and every other form, made from that document alone

Nothing here starts anything or looks anywhere else.
"""
