"""The simple commands of a block are read as a shell would read them; what is not simple is refused."""

import pytest

from k2.commands.runbooks.shell import read_script


def words(text: str) -> list[tuple[int, tuple[str, ...]]]:
    return [(command.line, command.words) for command in read_script(text, 10).commands]


def test_commands_are_read_with_their_lines() -> None:
    text = "# a comment\ncurl --silent 'a b' | head -n 1\n\ncompose ps && echo \"x y\"; df -h"
    assert words(text) == [
        (11, ("curl", "--silent", "a b")),
        (11, ("head", "-n", "1")),
        (13, ("compose", "ps")),
        (13, ("echo", "x y")),
        (13, ("df", "-h")),
    ]


def test_a_backslash_continues_the_line_that_began() -> None:
    assert words("ls \\\n  -l\ndf") == [(10, ("ls", "-l")), (12, ("df",))]


def test_redirections_are_no_arguments() -> None:
    assert words('pg_dump catalog > "$BACKUP/a" 2>&1') == [(10, ("pg_dump", "catalog"))]
    assert words("pg_restore --clean < file") == [(10, ("pg_restore", "--clean"))]


def test_variables_that_are_set_and_used_are_told() -> None:
    script = read_script("TAG=1 NAME=$OTHER echo \"${TAG}\" '$QUOTED'", 1)
    assert script.assigned == {"TAG", "NAME"}
    assert [name for _, name in script.used] == ["OTHER", "TAG"]
    assert [command.words[0] for command in script.commands] == ["echo"]


@pytest.mark.parametrize(
    "line",
    [
        "echo $(date)",
        "echo `date`",
        "for x in a; do echo x; done",
        "(cd x; ls)",
        "echo 'open",
        "ls & df",
        "if true; then ls; fi",
    ],
)
def test_what_is_not_simple_is_refused_with_its_line(line: str) -> None:
    assert [number for number, _ in read_script(f"ls\n{line}", 5).unread] == [6]
