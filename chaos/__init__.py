"""Chaos: faults that are shown to have bitten, and nothing lost.

    faults/      what is done: each inject / heal, and nothing else
    probes/      what shows whether a fault bites: canaries through the proxies, states of servers and processes
    scenarios/   the table of workload x fault x timing, and how a row of it is carried out
    suite/       the scenarios as clauses: each writes a history and is judged by the checker `chaos`
    schedule.py  when which fault comes: made from a seed, keyed to counts, kept as a file, replayed
    timeline.py  one clock for throughput, latency, faults and error lines; picture.py draws it

`python -m chaos --help` says how to run it, docs/chaos.md what it does. Imports conformance and k2, never load or
reports. Nothing here judges: conformance/checkers/chaos.py does, from the history alone.
"""
