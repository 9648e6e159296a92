"""Whole-system mutants: patches that break a promise on purpose, each of which a named clause must notice.

Verified: that the clause fails when the promise is broken. Not verified: that it fails for every way of breaking it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

_AT_ONCE = 3
_COPIED = ("k2", "conformance", "pyproject.toml")
_COPIED_FOR_SERVERS = "deploy"
_EMBEDDED = "embedded"
_CLAUSES = "conformance/clauses"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch and the clause that must fail on it.

    Attributes:
        name: of the patch.
        clause: name, or the beginning of several.
        breaks: what it breaks, in words.
        stack: the clause needs one of this kind.
        suite: folder of the clause.
        options: of pytest, where the clause is to do only what can notice the mutant.
    """

    name: str
    clause: str
    breaks: str
    stack: str = _EMBEDDED
    suite: str = _CLAUSES
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MutantResult:
    """What became of a mutant: killed, survived, or unknown (it no longer applies, or its clause did not finish)."""

    mutant: str
    clause: str
    verdict: str
    reason: str


def listed(project_root: Path) -> list[Mutant]:
    """All mutants, from mutants.toml."""
    document = tomllib.loads((project_root / "conformance/mutants/mutants.toml").read_text())
    return [Mutant(**{**entry, "options": tuple(entry.get("options", ()))}) for entry in document["mutant"]]


def exercised(project_root: Path, stack: str) -> list[Mutant]:
    """Mutants whose clause needs a stack of this kind; those of other kinds are for runs on theirs."""
    return [mutant for mutant in listed(project_root) if mutant.stack == stack]


def run_mutants(project_root: Path, stack: str) -> list[MutantResult]:
    """Run every mutant's clause against it, a few at a time, saying so as it goes."""
    # Servers of their own fill a machine.
    with started_mutants(project_root, _AT_ONCE if stack == _EMBEDDED else 1, stack) as results:
        return results()


@contextmanager
def started_mutants(project_root: Path, at_once: int, stack: str) -> Iterator[Callable[[], list[MutantResult]]]:
    """Mutants under way while the body runs; what is yielded waits for them. Those not begun by then are left out."""
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="mutant")
    try:
        under_way = [pool.submit(_announced, project_root, mutant) for mutant in exercised(project_root, stack)]
        yield lambda: [mutant.result() for mutant in under_way]
    finally:
        pool.shutdown(cancel_futures=True)


def _announced(project_root: Path, mutant: Mutant) -> MutantResult:
    print(f"mutant {mutant.name}: {mutant.clause} must fail ...", flush=True)
    result = run_mutant(project_root, mutant)
    print(f"        {result.verdict} {mutant.name}: {result.reason}", flush=True)
    return result


def write_results(results: Iterable[MutantResult], path: Path) -> None:
    """Write one line a mutant."""
    path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in results))


def run_mutant(project_root: Path, mutant: Mutant) -> MutantResult:
    """Apply the patch to a copy of the project and run the clause there."""
    with tempfile.TemporaryDirectory(prefix="k2-mutant-") as directory:
        copy = Path(directory)
        for name in _copied(mutant):
            source = project_root / name
            if source.is_dir():
                # With the compiled kernels, which are found by their source's path and time.
                shutil.copytree(source, copy / name)
            else:
                shutil.copy2(source, copy / name)
        patch = project_root / "conformance/mutants" / f"{mutant.name}.patch"
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(patch)], cwd=copy, capture_output=True, text=True, check=False
        )
        if applied.returncode:
            return MutantResult(
                mutant.name, mutant.clause, "unknown", f"the patch does not apply: {applied.stderr.strip()[:200]}"
            )
        return _judge(mutant, _verdicts(copy, mutant))


def _copied(mutant: Mutant) -> list[str]:
    """What of the project a mutant's clause needs."""
    of_suite = mutant.suite.partition("/")[0]
    for_servers = [] if mutant.stack == _EMBEDDED else [_COPIED_FOR_SERVERS]
    return [*_COPIED, *for_servers, *([] if of_suite in _COPIED else [of_suite])]


def _verdicts(copy: Path, mutant: Mutant) -> list[dict[str, str]]:
    run_directory = copy / "run"
    run_directory.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", mutant.suite, "-q", "-p", "no:cacheprovider"),
            *([] if mutant.suite == _CLAUSES else ["-p", "conformance.clauses.conftest"]),
            # Servers have a limit of their own.
            *("-o", "timeout_func_only=true"),
            *(f"--k2-run-dir={run_directory}", f"--k2-only={mutant.clause}", f"--k2-stack={mutant.stack}"),
            *mutant.options,
        ],
        cwd=copy,
        capture_output=True,
        check=False,
    )
    path = run_directory / "verdicts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _judge(mutant: Mutant, lines: Iterable[dict[str, str]]) -> MutantResult:
    verdicts = {line["clause"]: line for line in lines}
    failed = [line for line in verdicts.values() if line["verdict"] == "fail"]
    if failed:
        return MutantResult(mutant.name, mutant.clause, "killed", f"{failed[0]['clause']}: {failed[0]['reason']}")
    if not verdicts:
        return MutantResult(mutant.name, mutant.clause, "unknown", "no clause ran")
    if all(line["verdict"] == "pass" for line in verdicts.values()):
        return MutantResult(mutant.name, mutant.clause, "survived", f"{mutant.clause} passed although {mutant.breaks}")
    unknown = next(line for line in verdicts.values() if line["verdict"] == "unknown")
    return MutantResult(mutant.name, mutant.clause, "unknown", unknown["reason"])
