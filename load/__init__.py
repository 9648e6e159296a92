"""Load on the API, with Locust: `locust -f load/` for people, `python -m load run` (`tox -e load`) for a verdict.

    locustfile.py     the users, and what Locust needs to know
    _arrivals.py      when each request is due
    _targets.py       what there is to ask for, found out by asking
    _platform.py      an API with data of its own, where none was named
    _record.py        every request on a line, for the checker
    _picture.py       a stored history drawn on one clock
    profiles/         what is run, and the thresholds it is judged by

Locust takes every file of this folder for a locustfile unless its name begins with an underscore. It patches the
standard library as soon as it is imported, so only locustfile.py imports it, and only processes of Locust's own import
that: the rest of the project never runs patched. How a profile is run and judged is conformance.drivers.load and
conformance.checkers.load.
"""
