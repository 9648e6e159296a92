"""What happened in one run of one clause, written while it happens and read back without a stack.

A history is a directory: `history.jsonl` (header, events, end line) and the Arrow files its observations refer to.

    events.py   the values: header, operation, observation
    files.py    names, Arrow files and hashes
    writer.py   HistoryWriter, used by whoever drives the system
    reading.py  History, used by whoever judges it

Imports nothing of K2: a history describes itself.
"""

from conformance.history.events import Header, HistoryError, Observation, Operation, OperationOutcome
from conformance.history.files import history_sha256
from conformance.history.reading import History
from conformance.history.writer import HistoryWriter, Invocation

__all__ = [
    "Header",
    "History",
    "HistoryError",
    "HistoryWriter",
    "Invocation",
    "Observation",
    "Operation",
    "OperationOutcome",
    "history_sha256",
]
