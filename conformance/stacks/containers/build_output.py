"""What a build says, understood: pure functions of its lines.

Seconds are counted as fetching or as building by whole steps: one that fetches and unpacks counts as fetching in full,
since the package managers do both at once.
"""

import re
from dataclasses import dataclass

_STEP = re.compile(r"^Step (?P<number>\d+)/(?P<total>\d+) : (?P<instruction>.*)$")
_FETCHES = re.compile(r"\b(?:apt-get|mvn|go get|pip(?:\s+\S+)* install)\b")
_REMEDIES = (
    (
        re.compile(r"Version '.*' for '.*' was not found"),
        "the distribution has another version by now: set it in deploy/images.toml",
    ),
    (re.compile(r"[Nn]o space left on device"), "free disk space where the engine keeps its images"),
    (
        re.compile(r"x509|PKIX|certificate verify failed|SSLError|CERTIFICATE_VERIFY"),
        "the host's certificates do not cover the package source: name a complete bundle with SSL_CERT_FILE",
    ),
    (
        re.compile(r"resol(?:ve|ving)|no such host|[Nn]etwork is unreachable|[Cc]onnection (?:refused|timed out)"),
        "no way to the packages: set HTTPS_PROXY, GOPROXY, PIP_INDEX_URL or ~/.m2/settings.xml as this network needs",
    ),
)
_EXIT_STATUS = re.compile(r"returned a non-zero code: (\d+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_QUOTE = 100
_UNKNOWN_REMEDY = "the log has the whole output"


@dataclass(frozen=True, slots=True)
class BuildSeconds:
    """How long a build took, in seconds: fetching packages, and everything else."""

    download: float = 0.0
    build: float = 0.0


NO_SECONDS = BuildSeconds()


class BuildWatch:
    """Follows a build line by line and attributes the time between its steps.

    Args:
        now: seconds, monotonic, when the build begins.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self._seconds = {True: 0.0, False: 0.0}
        self._fetching = False
        self.step = ""
        """The step the build is in: "7/12 RUN mvn ..."."""

    def feed(self, text: str, now: float) -> None:
        """Take in what the build says."""
        for line in text.splitlines():
            if match := _STEP.match(line):
                self._count(now)
                instruction = match["instruction"]
                self.step = f"{match['number']}/{match['total']} {' '.join(instruction.split())}"
                self._fetching = instruction.startswith("RUN") and _FETCHES.search(instruction) is not None

    def finish(self, now: float) -> BuildSeconds:
        """The build has ended."""
        self._count(now)
        return BuildSeconds(download=self._seconds[True], build=self._seconds[False])

    def _count(self, now: float) -> None:
        self._seconds[self._fetching] += now - self._since
        self._since = now


def failure(name: str, step: str, error: str, tail: str, log: str) -> str:
    """One line about a build that failed: which step, how, what to do, and where all of it can be read.

    Args:
        name: of the image.
        step: as BuildWatch has it.
        error: the engine's message.
        tail: the last lines the build wrote.
        log: the file that has all of them.
    """
    status = _EXIT_STATUS.search(error)
    how = f"exit status {status[1]}" if status else " ".join(error.split())[-_LONGEST_QUOTE:]
    where = f"step {step[:_LONGEST_QUOTE]}" if step else "before the first step"
    return f"image {name} cannot be built, {where}: {how}; {remedy_for(tail)}; log in {log}"


def without_colours(text: str) -> str:
    """The text without the terminal's escape sequences, which the engine puts around what went to standard error."""
    return _COLOUR.sub("", text)


def remedy_for(output: str) -> str:
    """What to do about a build that failed with this at the end of its log."""
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(output)), _UNKNOWN_REMEDY)
