"""The readiness card, in the order evidence travels.

registry.py and rubric.py read what is promised and what it is worth; evidence.py reads what a run left behind.
scoring.py judges claim by claim and adds up (pure, exact), remedies.py says what to do next, gate.py decides.
card.py lays all of it out as the published document.py, from which page.py and summary.py write HTML and Markdown.
Nothing here starts anything or looks anywhere else.
"""
