"""One runbook as values: its parts in order, its links, and the command blocks marked for being run.

A block is fenced, and says in its info string what running it takes:

    ```bash runbook=diagnosis needs=deployment
    ```bash runbook=resolution needs=deployment given=SNAPSHOT exit=76 destructive
    ```bash runbook=resolution needs=nothing untested="why no test can run it"

`runbook` says whether it only looks (diagnosis) or changes something (resolution). `needs` is `deployment` (servers
that run) or `nothing`. `given` names variables that the reader sets first. `exit` is the exit code of the last command,
0 if it is not said. `destructive` marks what loses data or cannot be taken back. `untested` says why no test runs it.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PARTS = ("Severity", "Symptoms", "Diagnosis", "Resolution", "Prevention", "Related Monitoring")
PHASES = ("diagnosis", "resolution")
NEEDS = ("deployment", "nothing")
SHELL_LANGUAGES = ("bash", "sh", "shell", "console")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
_PART_LEVEL = 2
_SEVERITY = re.compile(r"^\*\*(critical|high|medium|low)\*\*")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*(.*)$")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_ANCHOR_DROPPED = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a line, and what to do about it."""

    line: int
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Part:
    """A second-level section."""

    title: str
    line: int
    has_text: bool


@dataclass(frozen=True, slots=True)
class CommandBlock:
    """Commands a reader types.

    Attributes:
        line: of the first command.
        text: the commands.
        phase: diagnosis only looks, resolution changes something.
        needs: what must be there to run it.
        given: variables the reader sets first.
        exit_code: that of the last command.
        is_destructive: loses data or cannot be taken back.
        untested: why no test runs it; empty where one does.
    """

    line: int
    text: str
    phase: str = ""
    needs: str = ""
    given: tuple[str, ...] = ()
    exit_code: int = 0
    is_destructive: bool = False
    untested: str = ""


@dataclass(frozen=True, slots=True)
class Runbook:
    """A page, as far as it could be read; `problems` are what could not."""

    path: Path
    title: str
    parts: tuple[Part, ...]
    blocks: tuple[CommandBlock, ...]
    links: tuple[tuple[int, str], ...]
    prose: tuple[tuple[int, str], ...]
    anchors: frozenset[str]
    problems: tuple[Problem, ...] = ()

    @property
    def severity(self) -> str:
        """What its first part begins with, "" if that is no severity."""
        at = next((part.line for part in self.parts if part.title == PARTS[0]), None)
        first = next((line for number, line in self.prose if at is not None and number > at), "")
        match = _SEVERITY.match(first)
        return match[1] if match else ""


def read_runbook(path: Path) -> Runbook:
    """Read a page.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    return parse_runbook(path, path.read_text(encoding="utf-8"))


def parse_runbook(path: Path, text: str) -> Runbook:
    """A page from its text."""
    reading = _Reading()
    for number, line in enumerate(text.splitlines(), 1):
        reading.take(number, line)
    reading.end()
    return Runbook(
        path=path,
        title=reading.title,
        parts=tuple(Part(title, line, has_text) for title, line, has_text in reading.parts),
        blocks=tuple(reading.blocks),
        links=tuple(reading.links),
        prose=tuple(reading.prose),
        anchors=frozenset(reading.anchors),
        problems=tuple(reading.problems),
    )


class _Reading:
    def __init__(self) -> None:
        self.title = ""
        self.parts: list[tuple[str, int, bool]] = []
        self.blocks: list[CommandBlock] = []
        self.links: list[tuple[int, str]] = []
        self.prose: list[tuple[int, str]] = []
        self.anchors: set[str] = set()
        self.problems: list[Problem] = []
        self._fence: str | None = None
        self._fence_line = 0
        self._info = ""
        self._fenced: list[str] = []

    def take(self, number: int, line: str) -> None:
        """The next line."""
        fence = _FENCE.match(line.rstrip())
        if self._fence is not None:
            if fence and fence[1].startswith(self._fence) and not fence[2]:
                self._close()
            else:
                self._fenced.append(line)
            return
        if fence:
            self._fence, self._fence_line, self._info, self._fenced = fence[1], number, fence[2], []
            self._fill()
            return
        heading = _HEADING.match(line)
        if heading:
            self.anchors.add(_ANCHOR_DROPPED.sub("", heading[2].lower()).replace(" ", "-"))
            if len(heading[1]) <= _PART_LEVEL:
                self._head(number, heading)
            return
        if line.strip():
            self._fill()
            self.prose.append((number, line))
            self.links += [(number, target) for target in _LINK.findall(_CODE_SPAN.sub("", line))]

    def end(self) -> None:
        """No line is left."""
        if self._fence is not None:
            self.problems.append(Problem(self._fence_line, "a block is never closed", f"end it with {self._fence}"))

    def _head(self, number: int, heading: re.Match[str]) -> None:
        title = heading[2]
        if heading[1] == "##":
            self.parts.append((title, number, False))
        elif self.title:
            self.problems.append(Problem(number, f"a second title, {title!r}", "one page, one title: use ##"))
        else:
            self.title = title

    def _fill(self) -> None:
        if self.parts:
            title, line, _ = self.parts[-1]
            self.parts[-1] = (title, line, True)

    def _close(self) -> None:
        self._fence = None
        language, *words = _words(self._info) or [""]
        if language in SHELL_LANGUAGES:
            block, problems = _block(self._fence_line, words, "\n".join(self._fenced))
            self.blocks.append(block)
            self.problems += problems


def _words(info: str) -> list[str]:
    try:
        return shlex.split(info)
    except ValueError:
        # A quotation that does not end; its words are then found to say nothing.
        return info.split()


def _block(fence_line: int, words: list[str], text: str) -> tuple[CommandBlock, list[Problem]]:
    """A block by its info string; what is missing or unknown in it is a problem."""
    told = dict(word.split("=", 1) for word in words if "=" in word)
    flags = [word for word in words if "=" not in word]
    problems = [
        Problem(fence_line, f"the block is marked {word!r}, which says nothing", "see k2 runbooks validate --help")
        for word in (*(set(told) - {"runbook", "needs", "given", "exit", "untested"}), *(set(flags) - {"destructive"}))
    ]
    for name, known in (("runbook", PHASES), ("needs", NEEDS)):
        if told.get(name) not in known:
            said = f"{name}={told[name]}" if name in told else f"not marked with {name}="
            problems.append(Problem(fence_line, f"the block is {said}", f"write {name}= one of {', '.join(known)}"))
    exit_code = told.get("exit", "0")
    if not exit_code.isdecimal() or int(exit_code) > 255:
        problems.append(Problem(fence_line, f"exit={exit_code} is no exit code", "write a number up to 255"))
        exit_code = "0"
    if "untested" in told and not told["untested"].strip():
        problems.append(Problem(fence_line, "untested= gives no reason", 'write untested="why no test can run it"'))
    block = CommandBlock(
        line=fence_line + 1,
        text=text,
        phase=told.get("runbook", ""),
        needs=told.get("needs", ""),
        given=tuple(name for name in told.get("given", "").split(",") if name),
        exit_code=int(exit_code),
        is_destructive="destructive" in flags,
        untested=told.get("untested", ""),
    )
    return block, problems
