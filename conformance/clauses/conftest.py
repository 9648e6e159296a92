"""Pytest's part: gives each clause a history to write, and turns its verdict into evidence and a line of progress."""

import enum
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import orjson
import pytest

from conformance.clause import NOTE_PROPERTY, ClauseMarker, ClauseRun, allure_labels
from conformance.drivers.captures import captures_folder
from conformance.stacks.base import NewStack, PowerMissingError, Stack
from conformance.stacks.containers.paths import OF_WORKERS
from conformance.stacks.kinds import CONTAINERS, stacks_of

if TYPE_CHECKING:
    from conformance.stacks.containers.deployed import Deployed

VERDICT_PROPERTY = "k2_verdict"
SKIPPED_PROPERTY = "k2_skipped"
HARNESS_ERROR = "harness error: "
_HARNESS = "test_zz_harness"
_ENOUGH_TO_TELL = 5
_EXAMPLES_TOLD = 2
_SYMBOLS = {"pass": "pass   ", "fail": "FAIL   ", "unknown": "unknown"}


class Pass(enum.StrEnum):
    """A run has two passes: most clauses side by side, then one by one those that bear no neighbour."""

    TOGETHER = "together"
    ALONE = "alone"

    @classmethod
    def of(cls, item: pytest.Item) -> Self:
        """The pass a clause belongs to."""
        return cls("alone" if item.get_closest_marker("alone") else "together")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options the runner passes."""
    parser.addoption("--k2-run-dir", type=Path, default=None, help="run directory that takes histories and verdicts")
    parser.addoption("--k2-stack", default="embedded", help="stack to run on")
    parser.addoption("--k2-addresses", type=Path, default=None, help="settings file of the external stack's servers")
    parser.addoption("--k2-only", default=None, help="only clauses whose name starts so, or that cite this id")
    parser.addoption("--k2-pass", choices=list(Pass), default=None, help="only clauses of this pass; default: all")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and, where a run directory is given, collect evidence into it."""
    config.addinivalue_line("markers", "full_profile: a clause that takes minutes, run with PROFILE=full only")
    config.addinivalue_line(
        "markers", "alone: a clause that measures time or memory, or looks back on the others; run after them, singly"
    )
    config.addinivalue_line(
        "markers", "clause(name, claims, checker, title, minimum_samples, remedy): what a test decides"
    )
    run_directory = config.getoption("--k2-run-dir")
    if run_directory is not None and not _is_worker(config):
        config.pluginmanager.register(EvidenceCollector(run_directory), "k2-evidence")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what the profile runs, tell the card which clauses there are, then keep what `--k2-only` names."""
    if os.environ.get("PROFILE", "smoke") != "full":
        _keep(config, items, [item for item in items if item.get_closest_marker("full_profile") is None])
    # A deployment is a second set of servers: who needs it comes last, so that nobody else shares the machine with it.
    # The harness's own clauses are about the evidence of all others.
    items.sort(key=lambda item: (_HARNESS in item.nodeid, "deployment" in getattr(item, "fixturenames", ())))
    run_directory = config.getoption("--k2-run-dir")
    if run_directory is not None:
        lines = [marker.suite_line(item) for item in items if (marker := ClauseMarker.of(item))]
        # Every worker collects the same clauses, and none may see a file half written.
        partial = run_directory / f"clauses.jsonl.{os.getpid()}"
        partial.write_bytes(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
        partial.replace(run_directory / "clauses.jsonl")
    only = config.getoption("--k2-only")
    if only is not None:
        _keep(config, items, [i for i in items if (marker := ClauseMarker.of(i)) and marker.matches(i, only)])
    wanted = config.getoption("--k2-pass")
    if wanted is not None:
        _keep(config, items, [item for item in items if Pass.of(item) == wanted])


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is a process of xdist, whose reports the one that started it collects."""
    return hasattr(config, "workerinput")


def _keep(config: pytest.Config, items: list[pytest.Item], kept: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A clause that asks of its stack what such a stack cannot do is not exercised there."""
    try:
        yield
    except PowerMissingError as error:
        pytest.skip(str(error))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """A test that ended without a verdict broke in the harness: that is unknown, never a pass."""
    marker = ClauseMarker.of(item)
    broke = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
    judged = any(name == VERDICT_PROPERTY for name, _ in item.user_properties)
    if broke and marker is not None and not judged:
        assert call.excinfo is not None
        first_line = (str(call.excinfo.value).splitlines() or [""])[0]
        reason = f"{HARNESS_ERROR}{call.excinfo.typename}: {first_line}"[:300]
        verdict = {"verdict": "unknown", "reason": reason, "samples": 0, "findings": []}
        item.user_properties.append((VERDICT_PROPERTY, marker.verdict_line(item, verdict)))
    if marker is not None and call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
        line = {**marker.suite_line(item), "reason": str(call.excinfo.value)}
        item.user_properties.append((SKIPPED_PROPERTY, line))
    yield


def time_left(done: int, total: int, spent_seconds: float) -> str:
    """What the rest takes if it goes on like this, once enough is done to tell."""
    if done < _ENOUGH_TO_TELL:
        return ""
    return f", about {spent_seconds / done * (total - done):.0f} s left"


class EvidenceCollector:
    """Writes verdicts.jsonl and says, clause by clause, what came out and after how long."""

    def __init__(self, run_directory: Path) -> None:
        self._path = run_directory / "verdicts.jsonl"
        self._skipped_path = run_directory / "skipped.jsonl"
        self._total = 0
        self._done = 0
        self._started = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Now the number of clauses is known, unless workers collect them."""
        self._total = len(session.items) if hasattr(session, "items") else self._total

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The workers have collected the clauses, each of them all."""
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say what is running, so that a long clause is not taken for a hang."""
        name = nodeid.split("::")[-1].removeprefix("test_").replace("_", " ")
        spent_seconds = time.monotonic() - self._started
        left = time_left(self._done, self._total, spent_seconds)
        self._done += 1
        print(f"[{self._done:2d}/{self._total}] {spent_seconds:5.0f} s{left}  {name} ...", flush=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the verdict of a finished clause."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            for name, line in report.user_properties:
                if name == VERDICT_PROPERTY:
                    self._take(cast("dict[str, Any]", line))
                elif name == SKIPPED_PROPERTY:
                    with self._skipped_path.open("ab") as file:
                        file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                elif name == NOTE_PROPERTY:
                    print(f"        {line}", flush=True)
            if report.skipped:
                print(f"        not exercised: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}")

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """Pytest's own dots would only stand in the way of the lines above."""
        counted = report.when == "call" or not report.passed
        return report.outcome if counted else "", "", ""

    def _take(self, line: dict[str, Any]) -> None:
        with self._path.open("ab") as file:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        print(f"        {_SYMBOLS[line['verdict']]} {line['clause']}: {line['reason']}", flush=True)
        for finding in line["findings"][:5]:
            print(f"            {finding['kind']}: {finding['detail']}", flush=True)
            for example in finding["examples"][:_EXAMPLES_TOLD]:
                print(f"                {example}", flush=True)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded market data."""
    folder = captures_folder()
    if folder is None:
        pytest.skip("no recorded captures: K2_CAPTURES names their folder")
    return folder


@pytest.fixture
def clause(request: pytest.FixtureRequest, tmp_path: Path) -> ClauseRun:
    """The running clause: where its history goes, and how it is judged."""
    marker = ClauseMarker.of(request.node)
    assert marker is not None, "a test that uses `clause` needs the clause marker"
    run_directory = request.config.getoption("--k2-run-dir") or tmp_path / "run"
    allure_labels(marker)
    return ClauseRun(marker, request.node, run_directory, VERDICT_PROPERTY)


@pytest.fixture(scope="session")
def new_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewStack]:
    """Makes stacks of the kind this run is on."""
    directory = request.config.getoption("--k2-run-dir") or tmp_path_factory.mktemp("run")
    option = request.config.getoption
    if _is_worker(request.config):
        directory = directory / OF_WORKERS / os.environ["PYTEST_XDIST_WORKER"]
    with stacks_of(option("--k2-stack"), directory, option("--k2-addresses"), _sayer(request)) as maker:
        yield maker


@pytest.fixture
def deployment(whole_deployment: "Deployed") -> "Deployed":
    """The whole of deploy/compose.yaml, a demo without its feed, for clauses that execute what operators do."""
    whole_deployment.put_in_order()
    return whole_deployment


@pytest.fixture(scope="session")
def whole_deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Deployed]":
    """It, started at its first use."""
    kind = request.config.getoption("--k2-stack")
    if kind != CONTAINERS:
        pytest.skip(f"the {kind} stack is not deployed by docker-compose")
    from conformance.stacks.containers.deployed import deployed

    directory = request.config.getoption("--k2-run-dir") or tmp_path_factory.mktemp("run")
    with deployed(directory.absolute() / "deployed", _sayer(request)) as running:
        yield running


def _sayer(request: pytest.FixtureRequest) -> Callable[[str], None]:
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        # What pytest captures during a fixture nobody sees, and servers take their time.
        with capture.global_and_fixture_disabled():
            print(f"        {text}", flush=True)

    return say


@pytest.fixture
def stack(request: pytest.FixtureRequest, tmp_path: Path, new_stack: NewStack) -> Iterator[Stack]:
    """A stack of its own for one clause, started; its logs stay with the run where it failed."""
    with new_stack(tmp_path) as running:
        yield running
    run_directory = request.config.getoption("--k2-run-dir")
    # A clause that started no process has none.
    if run_directory is not None and (tmp_path / "logs").exists():
        shutil.copytree(tmp_path / "logs", run_directory / "logs" / request.node.name, dirs_exist_ok=True)
