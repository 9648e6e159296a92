"""promtool and amtool as typed functions: run as subprocesses, their findings as data.

Where a tool comes from, in this order: what K2_PROMTOOL or K2_AMTOOL names, the PATH, and the image of the server it
belongs to if a container engine has that (K2_ENGINE=none forbids it). Where there is none, `find_tool` says why: what
needs it is not exercised then, and never passes.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.stacks.containers.engine_search import forbidden
from conformance.stacks.containers.image_catalogue import PREFIX

PROMTOOL, AMTOOL = "promtool", "amtool"
_IMAGES = {PROMTOOL: ("prometheus", "prom/prometheus"), AMTOOL: ("alertmanager", "prom/alertmanager")}
_TIMEOUT_SECONDS = 120.0
_ENGINE_TIMEOUT_SECONDS = 20.0
_PLACE = re.compile(
    r"^(?P<path>[^\s:]+\.ya?ml):\s*(?:(?P<line>\d+):\d+:\s*|yaml: line (?P<yaml>\d+):\s*)?(?P<text>.*)$"
)
_LINE_OF_LIST = re.compile(r"^\s+line (?P<line>\d+): (?P<text>.*)$")
_EXPECTATION = re.compile(r'expr:\s*(?P<expression>"(?:\\.|[^"\\])*"), time: (?P<at>\S+?),')
_ALERT_EXPECTATION = re.compile(r"alertname:\s*(?P<alert>\S+?), time: (?P<at>\S+?),")
_ALERT = re.compile(r'alertname\\?="(\w+)\\?"')
_NO_MATCH = "no file match pattern"


class ToolError(Exception):
    """A tool did not do what it was asked, other than by finding something."""


@dataclass(frozen=True, slots=True)
class Tool:
    """How a tool is called.

    Attributes:
        command: what precedes its arguments.
        origin: where it is from, for people.
        engine_image: the image it runs in; empty if it runs here. It sees only the folder it is to work in.
    """

    command: tuple[str, ...]
    origin: str
    engine_image: str = ""

    def run(self, arguments: Sequence[str], folder: Path) -> tuple[int, str]:
        """Run it in a folder: exit status, and all it wrote.

        Raises:
            ToolError: it does not start, or does not end.
        """
        command = [*self.command, *arguments]
        if self.engine_image:
            place = str(folder.absolute())
            # As whoever calls it, who may read the folder.
            mounted = ["--volume", f"{place}:{place}:ro", "--workdir", place, "--user", f"{os.getuid()}:{os.getgid()}"]
            entry = ["--entrypoint", self.command[-1], self.engine_image]
            command = [*self.command[:-1], "run", "--rm", "--network", "none", *mounted, *entry, *arguments]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolError(f"{' '.join(command[:3])} does not run: {error}") from error
        return done.returncode, done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class NoTool:
    """There is none. `reason` says what was looked for and what can be done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a tool found wrong in a file; `line` is 0 where it does not say."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class FailedExpectation:
    """What a unit test expected and did not get.

    Attributes:
        alerts: names of the alerts it speaks of.
        expression: what was asked; empty for an expectation of alerts.
        at: time within the test, "5m".
        text: the tool's whole message.
    """

    alerts: tuple[str, ...]
    expression: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What became of a file of unit tests: `problems` kept it from running, `failures` are what did not hold."""

    __test__ = False

    problems: tuple[Problem, ...]
    failures: tuple[FailedExpectation, ...]

    @property
    def passed(self) -> bool:
        """Whether all of it ran and held."""
        return not self.problems and not self.failures


def find_tool(name: str, environment: Mapping[str, str] = os.environ) -> Tool | NoTool:
    """Find promtool or amtool."""
    variable = f"K2_{name.upper()}"
    named = environment.get(variable)
    if named:
        found = shutil.which(named)
        return Tool((found,), f"{variable}={named}") if found else NoTool(f"{variable}={named} is no program")
    found = shutil.which(name, path=environment.get("PATH"))
    if found:
        return Tool((found,), found)
    image = None if forbidden(environment) else _image_with(name, environment)
    if image is not None:
        docker = shutil.which("docker", path=environment.get("PATH")) or "docker"
        return Tool((docker, name), f"the image {image}", image)
    return NoTool(
        f"no {name}: install the package prometheus or prometheus-alertmanager, name the program with {variable}, or "
        "have the images built (python -m conformance images)"
    )


class Promtool:
    """promtool."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    def check_rules(self, paths: Sequence[Path], folder: Path) -> tuple[Problem, ...]:
        """What is wrong with rule files, relative to a folder that holds them.

        Raises:
            ToolError: promtool broke.
        """
        return self._check(["check", "rules", *map(str, paths)], folder)

    def check_config(self, path: Path, folder: Path) -> tuple[Problem, ...]:
        """What is wrong with a configuration and the rules it names.

        Raises:
            ToolError: promtool broke.
        """
        return self._check(["check", "config", str(path)], folder)

    def test_rules(self, paths: Sequence[Path], folder: Path) -> TestOutcome:
        """Run files of unit tests, relative to a folder that holds them and their rules.

        Raises:
            ToolError: promtool broke.
        """
        status, output = self._tool.run(["test", "rules", *map(str, paths)], folder)
        failures = _failures(output)
        # Rules that are not there leave nothing to fail, and promtool calls that a success.
        unmatched = tuple(Problem("", 0, line.strip()) for line in output.splitlines() if _NO_MATCH in line)
        problems = unmatched or (() if failures or status == 0 else _problems(output))
        return TestOutcome(problems, failures)

    def _check(self, arguments: list[str], folder: Path) -> tuple[Problem, ...]:
        status, output = self._tool.run(arguments, folder)
        unmatched = tuple(Problem("", 0, line.strip()) for line in output.splitlines() if _NO_MATCH in line)
        return unmatched if status == 0 else _problems(output)


class Amtool:
    """amtool."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    def check_config(self, path: Path, folder: Path) -> tuple[Problem, ...]:
        """What is wrong with Alertmanager's configuration.

        Raises:
            ToolError: amtool broke.
        """
        status, output = self._tool.run(["check-config", str(path)], folder)
        return () if status == 0 else _problems(output)

    def receivers(self, path: Path, labels: Mapping[str, str], folder: Path) -> tuple[str, ...]:
        """Who is told of an alert with these labels.

        Raises:
            ToolError: amtool broke.
        """
        given = [f"{name}={value}" for name, value in labels.items()]
        status, output = self._tool.run(["config", "routes", "test", f"--config.file={path}", *given], folder)
        lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("Warning:")]
        if status != 0 or not lines:
            raise ToolError(f"amtool config routes test: {output.strip()[:300]}")
        return tuple(lines[0].split(","))


def _problems(output: str) -> tuple[Problem, ...]:
    found: list[Problem] = []
    path = ""
    for line in output.splitlines():
        if match := _PLACE.match(line.strip()):
            path = match["path"]
            problem = Problem(path, int(match["line"] or match["yaml"] or 0), match["text"])
            if not problem.text.endswith("unmarshal errors:") and problem not in found:
                found.append(problem)
        elif match := _LINE_OF_LIST.match(line):
            found.append(Problem(path, int(match["line"]), match["text"]))
        elif "FAILED:" in line and (text := line.partition("FAILED:")[2].strip()):
            named = re.search(r"(\S+\.ya?ml)", text)
            path = named[1] if named else path
            if not text.endswith("unmarshal errors:"):
                found.append(Problem(path, 0, text))
    if not found:
        raise ToolError(f"its answer cannot be read: {output.strip()[:300]}")
    return tuple(found)


def _failures(output: str) -> tuple[FailedExpectation, ...]:
    found = []
    for block in re.split(r"(?m)^(?=\s+(?:name: .*\n\s+)?(?:expr|alertname):)", output)[1:]:
        alert, expectation = _ALERT_EXPECTATION.search(block), _EXPECTATION.search(block)
        if expectation:
            expression = expectation["expression"].strip('"').replace('\\"', '"')
            alerts = tuple(dict.fromkeys(_ALERT.findall(expression)))
            found.append(FailedExpectation(alerts, expression, expectation["at"], block.strip()))
        elif alert:
            found.append(FailedExpectation((alert["alert"],), "", alert["at"], block.strip()))
    return tuple(found)


def _image_with(name: str, environment: Mapping[str, str]) -> str | None:
    ours, official = _IMAGES[name]
    docker = shutil.which("docker", path=environment.get("PATH"))
    if docker is None:
        return None
    try:
        listed = subprocess.run(
            [docker, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"],
            capture_output=True, text=True, timeout=_ENGINE_TIMEOUT_SECONDS, check=True, env=dict(environment),
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    names = (f"{PREFIX}{ours}:", f"{official}:")
    return next((line for line in listed.splitlines() if line.startswith(names)), None)
