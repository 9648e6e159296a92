"""Failure bundle: one archive that leads anybody with a checkout to one verdict."""

import difflib
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from reports.readiness.errors import CardError
from reports.readiness.evidence import Evidence, Exhibit
from reports.readiness.ruler import Ruler

_README = """\
# One verdict, to be reproduced

{clause} on the {stack} stack of the run {run}: {verdict}
  {reason}

It cites {claims}. Commit {commit}, ruler {ruler}.

Judge the stored history again, without a stack:

    git checkout {commit}
    make setup
    tar xzf {archive}
    .venv/bin/python -m conformance judge {folder}

It prints the verdict above and "0 verdicts changed", and exits {status}. A verdict that did change exits 3.

Run the clause anew:

    .venv/bin/python -m conformance run --only {clause}{stack_option}

Here lie the history (histories/), its verdict (verdicts.jsonl), the run (run.json), what the checkers catch
(checkers.jsonl), the mutants (mutants.jsonl) and the logs that were kept (logs/).
"""


def find_exhibit(evidence: Evidence, clause: str) -> Exhibit:
    """The exhibit of a clause, by its name or by the only name that begins so.

    Raises:
        CardError: there is none, or the name stands for several.
    """
    names = list(dict.fromkeys(exhibit.line.clause for exhibit in evidence.exhibits))
    chosen = [name for name in names if name == clause] or [name for name in names if name.startswith(clause)]
    if not chosen:
        near = difflib.get_close_matches(clause, names, n=1)
        raise CardError(f"no clause {clause} was executed{f'; did you mean {near[0]}?' if near else ''}")
    if len(chosen) > 1:
        raise CardError(f"{clause} stands for {len(chosen)} clauses, name one: {', '.join(chosen)}")
    return next(exhibit for exhibit in evidence.exhibits if exhibit.line.clause == chosen[0])


def write_bundle(evidence: Evidence, exhibit: Exhibit, ruler: Ruler, archive: Path, logs: Path | None = None) -> Path:
    """Write the archive (tar, gzip; the same bytes for the same evidence); returns its path.

    Args:
        evidence: of the run.
        exhibit: the verdict to reproduce.
        ruler: the one in use.
        archive: file to write.
        logs: folder of the run that holds the logs of the clause's processes.

    Raises:
        CardError: no history backs the verdict, or the archive cannot be written.
    """
    line = exhibit.line
    if exhibit.gap or not line.history:
        raise CardError(f"{line.clause}: {exhibit.gap or 'it has no history'}, so nothing can be reproduced")
    run = evidence.directories[exhibit.run]
    folder = archive.name.removesuffix(".tar.gz")
    files = {
        "README.md": _readme(evidence, exhibit, ruler, archive.name, folder).encode(),
        "verdicts.jsonl": _kept_line(run / "verdicts.jsonl", line.clause),
        **{name: (run / name).read_bytes() for name in ("run.json", "checkers.jsonl", "mutants.jsonl")},
    }
    for directory in (run / line.history, *([logs] if logs else [])):
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            files[path.relative_to(run).as_posix()] = path.read_bytes()
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (
            archive.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name, content in files.items():
                _add(tar, f"{folder}/{name}", content)
    except OSError as error:
        raise CardError(f"{archive} cannot be written: {error.strerror}") from error
    return archive


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def _readme(evidence: Evidence, exhibit: Exhibit, ruler: Ruler, archive: str, folder: str) -> str:
    line = exhibit.line
    run = evidence.runs[exhibit.run] if exhibit.run < len(evidence.runs) else None
    return _README.format(
        clause=line.clause,
        stack=line.stack,
        run=run.run_id if run else "unknown",
        verdict=line.verdict,
        reason=line.reason,
        claims=", ".join(line.claims),
        commit=(run.git_commit if run else None) or "not recorded",
        ruler=ruler.version,
        archive=archive,
        folder=folder,
        status={"pass": 0, "fail": 1, "unknown": 2}[line.verdict],
        stack_option="" if line.stack == "embedded" else f" --stack {line.stack}",
    )


def _kept_line(path: Path, clause: str) -> bytes:
    for line in path.read_bytes().splitlines():
        kept: dict[str, Any] = json.loads(line)
        if kept.get("clause") == clause:
            return line + b"\n"
    raise CardError(f"{path}: {clause} is not there any more")
