"""Shows that the checkers can fail: clean histories, and defects planted in copies of them.

    suite.py       what a defect is, and how a history is edited
    records.py     records of two data types, by the column
    journey.py     clean histories of the record's journey
    <checker>.py   for each checker: its clean histories and its defects
    run.py         runs them all; `checkers.jsonl` for the reports

A defect is caught if the checker's verdict has the declared outcome and holds the declared kind of finding. A clean
history that does not pass is a false alarm. A checker that misses defects, or cries wolf, proves nothing.
"""

from conformance.planted.run import CheckerResult, run_all, run_suite, write_checkers
from conformance.planted.suite import Defect, Suite

__all__ = ["CheckerResult", "Defect", "Suite", "run_all", "run_suite", "write_checkers"]
