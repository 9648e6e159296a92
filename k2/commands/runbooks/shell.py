"""The simple commands of a block: words, variables, and the line each begins at.

What a tired reader can take in is what this reads: commands joined by |, &&, || and ;, continued with a backslash,
with quotes and redirections. Loops, substitutions and subshells are refused.
"""

import re
import shlex
from dataclasses import dataclass

_SEPARATORS = {"|", "||", "&&", ";"}
_REDIRECTIONS = {">", ">>", "<", ">&", "&>"}
_KEYWORDS = {"for", "while", "until", "if", "then", "else", "fi", "do", "done", "case", "esac", "function", "{", "}"}
_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)=")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_SUBSTITUTION = re.compile(r"\$\(|`")
_SINGLE_QUOTED = re.compile(r"'[^']*'")


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command.

    Attributes:
        line: where it begins.
        words: program and arguments, unquoted; variables stay as they are written.
    """

    line: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """What a block does, in order; a refused line is in `unread` with the reason."""

    commands: tuple[Command, ...]
    assigned: frozenset[str]
    used: tuple[tuple[int, str], ...]
    unread: tuple[tuple[int, str], ...]


def read_script(text: str, first_line: int) -> Script:
    """Read a block whose first line has this number."""
    commands: list[Command] = []
    assigned: set[str] = set()
    used: list[tuple[int, str]] = []
    unread: list[tuple[int, str]] = []
    for number, line in _logical_lines(text, first_line):
        try:
            for words in _simple_commands(line):
                names = _assignments(words)
                assigned.update(names)
                if rest := words[len(names) :]:
                    commands.append(Command(number, tuple(rest)))
        except ValueError as error:
            unread.append((number, str(error)))
        used += [(number, name) for name in _VARIABLE.findall(_SINGLE_QUOTED.sub("", line))]
    return Script(tuple(commands), frozenset(assigned), tuple(used), tuple(unread))


def _logical_lines(text: str, first_line: int) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    begun: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), first_line):
        start, before = begun or (number, "")
        joined = before + line
        if joined.endswith("\\"):
            begun = (start, joined[:-1])
            continue
        begun = None
        if joined.strip():
            lines.append((start, joined))
    return [*lines, begun] if begun else lines


def _simple_commands(line: str) -> list[list[str]]:
    """The words of each simple command of a line.

    Raises:
        ValueError: it holds what is not read here.
    """
    if _SUBSTITUTION.search(_SINGLE_QUOTED.sub("", line)):
        raise ValueError("a command inside a command")
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:
        raise ValueError("a quotation that does not end in its line") from None
    commands: list[list[str]] = [[]]
    skip = False
    for token in tokens:
        if skip:
            skip = False
        elif token in _SEPARATORS:
            commands.append([])
        elif token in _REDIRECTIONS:
            skip = True
            if commands[-1] and commands[-1][-1] in {"1", "2"}:
                commands[-1].pop()
        elif set(token) <= set("();<>|&"):
            raise ValueError(f"{token!r}")
        else:
            commands[-1].append(token)
    found = [words for words in commands if words]
    if keywords := sorted(_KEYWORDS & {words[0] for words in found}):
        raise ValueError(f"the keyword {keywords[0]!r}")
    return found


def _assignments(words: list[str]) -> list[str]:
    names = []
    for word in words:
        match = _ASSIGNMENT.match(word)
        if match is None:
            break
        names.append(match[1])
    return names
