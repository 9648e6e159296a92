"""Judges of histories: each checker is a pure function `check(history) -> Verdict` in a file of its own.

    verdict.py         outcomes, findings, verdicts; how a checker is run
    registry.py        the checkers by name
    provenance.py      each record from feed to answer      (with journey.py, progress.py, accounting.py,
                       source_numbers.py, comparison.py, answers.py)
    delivery.py        nothing lost, nothing twice, under kills
    sequence.py        the ruling on sequence numbers       (with sequence_model.py)
    request_limits.py  bodies over the limit (413)
    time_limits.py     queries over the limit (504)
    dead_letters.py    poison messages
    audit.py           the audit log against the table
    facts.py           what was seen beside what must be seen

Imports nothing of K2: a checker derives for itself what it needs, and never reuses the logic it judges.
Each checker's docstring says what it verifies, what it does not, and which stages, operations and parameters it reads.
"""
