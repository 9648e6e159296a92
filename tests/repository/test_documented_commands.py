"""Every `make` target and `tox` environment a document tells a reader to type exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.is_file())

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|[\s`;&|(])make((?: +[A-Za-z][\w-]*(?:=\S+)?)+)", re.MULTILINE)
TOX = re.compile(r"(?:^|[\s`;&|(/])tox (?:run )?-e *([\w,{}-]+)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)


def make_targets(makefile: str) -> set[str]:
    """Targets of a Makefile that a person types."""
    return set(TARGET.findall(makefile))


def commands(text: str) -> tuple[set[str], set[str]]:
    """Make targets and tox environments named in the code of a Markdown text."""
    code = "\n".join(match.group() for match in CODE.finditer(text))
    targets = {word for words in MAKE.findall(code) for word in words.split() if "=" not in word}
    environments = {name for names in TOX.findall(code) for name in names.split(",")}
    return targets, environments


@pytest.fixture(scope="module")
def tox_environments() -> set[str]:
    """Names tox itself lists for tox.ini."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOX")}
    listing = subprocess.run(
        [sys.executable, "-m", "tox", "list", "--no-desc", "-qq"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(listing.stdout.split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_documented_command_exists(document: Path, tox_environments: set[str]) -> None:
    targets, environments = commands(document.read_text(encoding="utf-8"))
    assert not targets - make_targets((ROOT / "Makefile").read_text())
    assert not environments - tox_environments


def test_tox_offers_every_suite(tox_environments: set[str]) -> None:
    assert tox_environments == {"py", "lint", "conformance", "chaos", "load", "alerts", "card", "gate"}


def test_every_phony_target_is_explained_by_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    printed = subprocess.run(["make"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert phony == make_targets(makefile)
    assert phony == set(re.findall(r"^ +make (\S+)", printed, re.MULTILINE))


def test_commands_are_read_from_code_and_not_from_prose() -> None:
    text = "make sure\n`make test STACK=embedded`, `.venv/bin/tox -e gate,card`\n```\n$ make gone && tox -e lint\n```\n"
    assert commands(text) == ({"test", "gone"}, {"gate", "card", "lint"})


def test_a_target_that_is_missing_is_found() -> None:
    targets, _ = commands("`make gone`")
    assert targets - make_targets("test: setup\nBIN := x\n") == {"gone"}
