"""The result files of Allure in a run directory, and which clauses each of them is of."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = "allure"
HISTORY_ATTACHMENT = "history"
_LONGEST_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """One executed test.

    Attributes:
        path: of the result file.
        document: what it says.
        clauses: names of the clauses whose histories are attached; a test may decide several.
    """

    path: Path
    document: dict[str, Any]
    clauses: tuple[str, ...]

    @property
    def test(self) -> str:
        """The test's name with its case, which is also that of its folder of logs."""
        function = str(self.document.get("fullName", "")).partition("#")[2]
        name = str(self.document.get("name", ""))
        # A title replaces the name; the case then stands in the parameters alone.
        return name if name.startswith(function) else function


def read_results(run: Path) -> Iterator[Result]:
    """The results in a run directory, by name; files that are none are passed over."""
    for path in sorted((run / RESULTS).glob("*-result.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            yield Result(path, document, _clauses(path.parent, document))


def logs_of_clauses(run: Path) -> dict[str, Path]:
    """Clause -> the folder of logs of the processes it ran; clauses without one are left out."""
    found = {}
    for result in read_results(run):
        folder = run / "logs" / result.test
        if folder.is_dir():
            found.update(dict.fromkeys(result.clauses, folder))
    return found


def _clauses(directory: Path, document: dict[str, Any]) -> tuple[str, ...]:
    names = []
    for attachment in document.get("attachments", ()):
        if attachment.get("name") != HISTORY_ATTACHMENT:
            continue
        try:
            with (directory / Path(str(attachment["source"])).name).open("rb") as file:
                header = json.loads(file.readline(_LONGEST_HEADER_BYTES))
        except (OSError, ValueError, KeyError):
            continue
        if isinstance(header, dict) and isinstance(header.get("clause"), str):
            names.append(header["clause"])
    return tuple(dict.fromkeys(names))
