"""The clauses: one requirement, one file.

Each docstring is the norm; each test drives a stack, records a history and has it judged. Run them with
`python -m conformance run`.
"""
