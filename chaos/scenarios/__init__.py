"""Scenarios: which workload meets which fault when, and what must go on meanwhile.

scenarios.toml  the table, as data
table.py        reads it
workload.py     what runs: a feed, a consumer, and callers of the registry and the API
execution.py    carries out the faults of a scenario at their counts, and heals them whatever happens
scenario.py     a scenario from its warm-up to the last look at the table, as a history
"""
