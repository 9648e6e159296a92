"""Judges stored histories again, without a stack, and says where the verdict is not the one that was kept.

A path is a history's directory, or the directory of a run, which holds `histories/` and `verdicts.jsonl`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from conformance.checkers.registry import CHECKERS
from conformance.checkers.verdict import Outcome, Verdict, run_checker, unknown, worst
from conformance.history import History, HistoryError, history_sha256
from conformance.history.files import HISTORY_FILE

HISTORIES = "histories"
VERDICTS_FILE = "verdicts.jsonl"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a verdict that was kept and the verdict given now do not agree.

    Attributes:
        clause: the clause of the kept verdict; the history's name where none was kept.
        history: path of the history within the run.
        what: verdict, samples, findings, history_sha256, or history where one of the two is not there.
        kept: as in verdicts.jsonl.
        judged: as found now.
    """

    clause: str
    history: str
    what: str
    kept: str
    judged: str

    def __str__(self) -> str:
        return f"{self.clause}: {self.what} was {self.kept}, is {self.judged} ({self.history})"


def judge(history_directory: Path) -> Verdict:
    """The verdict of the checker that the history's header names; unknown if the history cannot be read."""
    try:
        history = History.read(history_directory)
    except HistoryError as error:
        return unknown("unusable_history", f"the history cannot be read: {error}")
    checker = CHECKERS.get(history.header.checker)
    if checker is None:
        names = ", ".join(sorted(CHECKERS))
        return unknown("unknown_checker", f"no checker is named {history.header.checker!r}; there are {names}")
    return run_checker(checker, history)


def judge_paths(paths: Iterable[Path]) -> list[tuple[Path, Verdict]]:
    """The verdicts on all histories at these paths, each history's directory with its verdict.

    Raises:
        HistoryError: a path is neither a history's directory nor a run's.
    """
    directories = [directory for path in paths for directory in _history_directories(path)]
    return [(directory, judge(directory)) for directory in dict.fromkeys(directories)]


def worst_of(judged: Iterable[tuple[Path, Verdict]]) -> Outcome:
    """The worst outcome of all; UNKNOWN if nothing was judged."""
    outcomes = [verdict.outcome for _, verdict in judged]
    return worst(outcomes) if outcomes else Outcome.UNKNOWN


def differences(run_directory: Path, judged: Sequence[tuple[Path, Verdict]]) -> list[Difference]:
    """Where the verdicts on a run's histories are not those its verdicts.jsonl keeps.

    Raises:
        HistoryError: verdicts.jsonl cannot be read.
    """
    found: list[Difference] = []
    verdicts = {directory.resolve(): verdict for directory, verdict in judged}
    named: set[Path] = set()
    for line in _kept_verdicts(run_directory / VERDICTS_FILE):
        if not line.get("history"):
            continue
        directory = (run_directory / line["history"]).resolve()
        named.add(directory)
        if directory not in verdicts:
            found.append(Difference(line["clause"], line["history"], "history", "named", "missing"))
            continue
        found.extend(_compare(line, directory, verdicts[directory]))
    found.extend(
        Difference(directory.name, f"{HISTORIES}/{directory.name}", "history", "not named", "present")
        for directory in verdicts
        if directory not in named and directory.is_relative_to(run_directory.resolve())
    )
    return found


def _history_directories(path: Path) -> list[Path]:
    if (path / HISTORY_FILE).is_file():
        return [path]
    if (path / HISTORIES).is_dir():
        return sorted(directory for directory in (path / HISTORIES).iterdir() if directory.is_dir())
    raise HistoryError(f"{path}: holds neither {HISTORY_FILE} nor {HISTORIES}/; name a history or a run")


def _kept_verdicts(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise HistoryError(f"{file}: cannot be read: {error.strerror}") from error
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            kept.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise HistoryError(f"{file}: line {number} is not JSON: {error}") from error
    return kept


def _compare(line: dict[str, Any], directory: Path, verdict: Verdict) -> list[Difference]:
    pairs = [
        ("verdict", line["verdict"], verdict.outcome.value),
        ("samples", line["samples"], verdict.samples),
        ("findings", _in_words(line["findings"]), _in_words(verdict.as_json()["findings"])),
        ("history_sha256", line["history_sha256"], _sha256(directory)),
    ]
    return [
        Difference(line["clause"], line["history"], what, str(kept), str(now))
        for what, kept, now in pairs
        if kept != now
    ]


def _in_words(findings: Iterable[dict[str, Any]]) -> str:
    return "; ".join(sorted(f"{finding['kind']}: {finding['detail']}" for finding in findings)) or "none"


def _sha256(directory: Path) -> str:
    try:
        return history_sha256(directory)
    except HistoryError:
        return "missing"
