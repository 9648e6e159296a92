"""Cuts off the catalog database's answers at the driver: a commit is carried out or not, and the client is not told.

Every commit of the catalog goes through `do_commit` of SQLAlchemy's dialect. Every other one is cut: half of these
after the database has committed, half before, with the same error, so that nobody can tell one from the other.
"""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy

MESSAGE = "connection to the catalog was lost while it answered"
_ERRORS: dict[str, Callable[[str], Exception]] = {
    "sqlite": sqlite3.OperationalError,
    "postgresql": psycopg.OperationalError,
}


def cut_answers(evidence: Path, count: int, catalog_uri: str) -> None:
    """From now on cut `count` answers of this process, leaving a line of evidence for each."""
    url = sqlalchemy.make_url(catalog_uri)
    dialect_class = url.get_dialect()
    error = _ERRORS[url.get_backend_name()]
    carry_out: Callable[[Any, Any], None] = dialect_class.do_commit
    seen = 0

    def do_commit(dialect: Any, connection: Any) -> None:
        nonlocal seen
        seen += 1
        number, odd = divmod(seen, 2)
        if odd or number > count:
            carry_out(dialect, connection)
            return
        held = number % 2 == 1
        if held:
            carry_out(dialect, connection)
        else:
            connection.rollback()
        with evidence.open("a") as file:
            file.write(json.dumps({"cut": number, "held": held}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        raise error(MESSAGE)

    dialect_class.do_commit = do_commit  # type: ignore[method-assign, assignment]
