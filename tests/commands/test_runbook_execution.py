"""Blocks are run as typed: until the first command that fails, with what the reader sets, and put back afterwards."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from k2.commands.runbooks import execution
from k2.commands.runbooks.execution import Execution, Result, data_directory, execute
from k2.commands.runbooks.pages import CommandBlock, parse_runbook
from k2.commands.runbooks.report import counts, is_wrong, markdown, place, summary
from k2.errors import UsageError

FUNCTIONS = """
export K2_DATA_DIR=data
state=$PWD/state
change() { echo "$1" >> "$state"; }
as_it_was() { echo back >> "$state"; }
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "environment.sh").write_text(FUNCTIONS)
    return tmp_path


def block(commands: str, marks: str = "runbook=diagnosis needs=deployment") -> str:
    return f"```bash {marks}\n{commands}\n```\n"


def run(root: Path, *blocks: str, environment: Mapping[str, str] | None = None) -> list[Execution]:
    page = parse_runbook(Path("page.md"), "# Page\n" + "\n".join(blocks))
    variables = {**os.environ, **(environment or {})}
    return list(execute([page], root, root / "environment.sh", variables))


def test_what_ends_as_its_mark_says_has_passed(root: Path) -> None:
    first, second = run(root, block("echo well"), block("exit 76", "runbook=diagnosis needs=nothing exit=76"))
    assert (first.result, first.exit_code, first.output) == (Result.PASSED, 0, "well\n")
    assert (second.result, second.exit_code) == (Result.PASSED, 76)


@pytest.mark.parametrize("commands", ["false\necho on", "false | cat\necho on", "no-such-program\necho on"])
def test_the_first_command_that_fails_ends_the_block(root: Path, commands: str) -> None:
    (found,) = run(root, block(commands))
    assert found.result is Result.FAILED
    assert "on" not in found.output.splitlines()
    assert found.reason.startswith(f"exit code {found.exit_code}, must be 0: ")


def test_an_end_that_was_not_expected_is_wrong_although_it_is_0(root: Path) -> None:
    (found,) = run(root, block("true", "runbook=diagnosis needs=nothing exit=76"))
    assert (found.result, found.reason) == (Result.FAILED, "exit code 0, must be 76: it says nothing")


def test_functions_of_the_environment_file_are_there_and_the_root_is_where_it_is_typed(root: Path) -> None:
    (found,) = run(root, block('change one\ntest -r state\nprintf "%s" "$K2_DATA_DIR"'))
    assert (found.result, found.output) == (Result.PASSED, "data")


def test_after_a_page_that_changes_something_all_is_put_back_once(root: Path) -> None:
    run(root, block("change one", "runbook=resolution needs=deployment"), block("change two"))
    assert (root / "state").read_text().split() == ["one", "two", "back"]


def test_a_page_that_only_looks_needs_no_putting_back(root: Path) -> None:
    run(root, block("change one"), block("true", 'runbook=resolution needs=nothing untested="why"'))
    assert (root / "state").read_text().split() == ["one"]


def test_what_cannot_be_put_back_ends_the_run(root: Path) -> None:
    (root / "environment.sh").write_text(FUNCTIONS.replace("echo back >>", "false #"))
    with pytest.raises(UsageError, match=r"page\.md leaves what as_it_was does not put back"):
        run(root, block("true", "runbook=resolution needs=deployment"))


def test_what_a_reader_sets_is_needed_and_used(root: Path) -> None:
    marked = block('printf "%s" "$TAG"', "runbook=diagnosis needs=nothing given=TAG")
    (without,) = run(root, marked)
    assert (without.result, without.exit_code) == (Result.NOT_GIVEN, None)
    assert without.reason == "set TAG in the environment"
    (given,) = run(root, marked, environment={"TAG": "v1"})
    assert (given.result, given.output) == (Result.PASSED, "v1")


def test_a_marked_block_is_not_run_and_says_why(root: Path) -> None:
    (found,) = run(root, block("change one", 'runbook=resolution needs=nothing untested="it deletes for others"'))
    assert (found.result, found.reason, found.exit_code) == (Result.UNTESTED, "it deletes for others", None)
    assert not (root / "state").exists()


def test_what_does_not_end_is_ended_with_its_children(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "TIME_LIMIT_SECONDS", 0.3)
    (found,) = run(root, block("echo begun\nsleep 60 | cat"))
    assert (found.result, found.exit_code, found.output) == (Result.FAILED, 124, "begun\n")
    assert found.reason == "did not end: begun"
    assert found.seconds < 30


def test_the_environment_file_says_which_deployment_it_is_about(root: Path) -> None:
    assert data_directory(root, root / "environment.sh", os.environ) == root / "data"
    (root / "environment.sh").write_text("true\n")
    without = {name: value for name, value in os.environ.items() if name != "K2_DATA_DIR"}
    with pytest.raises(UsageError, match="names no K2_DATA_DIR"):
        data_directory(root, root / "environment.sh", without)


def test_the_report_has_a_row_for_each_block_and_the_output_of_what_is_wrong(root: Path) -> None:
    found = run(
        root,
        block("true", "runbook=resolution needs=deployment destructive"),
        block("echo 'out of a|b'\nfalse"),
        block("true", 'runbook=diagnosis needs=nothing untested="why"'),
        block('echo "$TAG"', "runbook=diagnosis needs=nothing given=TAG"),
    )
    assert counts(found) == {"passed": 1, "failed": 1, "untested": 1, "not given": 1}
    assert [is_wrong(one) for one in found] == [False, True, False, True]
    assert summary(found).endswith("1 passed, 1 failed, 1 untested, 1 not given")
    text = markdown(found)
    assert "| page.md:3 | resolution destructive | passed |" in text
    assert "must be 0: out of a\\|b |" in text
    assert "| page.md:12 | diagnosis | untested |  | why |" in text
    assert text.count("\n## ") == 2
    assert "```\nout of a|b\n```" in text
    assert place(found[0]) == "page.md:3"


def test_a_block_that_ran_without_a_word_says_so_in_the_report() -> None:
    silent = Execution(Path("page.md"), CommandBlock(3, "false", "diagnosis"), Result.FAILED, 1, 0.1, "", "exit code 1")
    assert "(no output)" in markdown([silent])
