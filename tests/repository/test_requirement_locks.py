"""What is installed is named by version and hash, agrees between the lock files, and says how to be written anew."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

LOCKS = ("bootstrap", "dev", "independent-reader", "runtime")
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(?P<version>\S+)(?P<rest>.*)$")


def entries(text: str) -> list[str]:
    """The requirements of a lock file, each with its continued lines joined and comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [entry for entry in lines.replace("\\\n", " ").splitlines() if entry.strip()]


def versions(text: str) -> dict[tuple[str, str], str]:
    """(name, marker) -> version; one name has several versions where they are for different platforms."""
    found = {}
    for entry in entries(text):
        if match := ENTRY.match(entry):
            marker = match["rest"].split("--hash")[0].strip(" ;")
            found[match["name"], marker] = match["version"]
    return found


def flaws(text: str) -> list[str]:
    """Entries that are not pinned by version and hash, or say where from."""
    return [
        entry.strip()
        for entry in entries(text)
        if not ENTRY.match(entry) or "--hash=sha256:" not in entry or "://" in entry or " @ " in entry
    ]


@pytest.fixture(params=LOCKS)
def lock(request: pytest.FixtureRequest, root: Path) -> str:
    """The text of each lock file."""
    return (root / "requirements" / f"{request.param}.txt").read_text()


def test_every_requirement_is_pinned_by_version_and_hash(lock: str) -> None:
    assert entries(lock)
    assert not flaws(lock)


def test_the_header_names_the_command_that_writes_the_file(lock: str) -> None:
    assert lock.splitlines()[1].strip("# ") == "make lock"


@pytest.mark.parametrize("name", ["bootstrap", "runtime"])
def test_versions_agree_with_the_development_lock(root: Path, name: str) -> None:
    development = {package: version for (package, _), version in versions(read_lock(root, "dev")).items()}
    other = {package: version for (package, _), version in versions(read_lock(root, name)).items()}
    assert other == {package: development.get(package) for package in other}


@pytest.mark.parametrize(("name", "group"), [("runtime", "dependencies"), ("dev", "dependencies"), ("dev", "dev")])
def test_every_declared_dependency_is_locked_at_a_version_it_allows(root: Path, name: str, group: str) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    declared = project["project"]["dependencies"] if group == "dependencies" else project["dependency-groups"][group]
    locked = {package: version for (package, _), version in versions(read_lock(root, name)).items()}
    for requirement in map(Requirement, declared):
        assert requirement.name in locked, f"run `make lock`: {requirement} is not in requirements/{name}.txt"
        assert requirement.specifier.contains(locked[requirement.name]), f"run `make lock`: {requirement}"


@pytest.mark.parametrize(
    "entry",
    [
        "uv==1.0",
        "uv>=1.0 \\\n    --hash=sha256:00",
        "--find" + "-links=wheels",
        "uv @ file:wheels/uv.whl \\\n    --hash=sha256:00",
        "--index" + "-url http://127.0.0.1/simple",
    ],
)
def test_a_requirement_that_is_not_pinned_is_found(entry: str) -> None:
    assert len(flaws(f"# header\nfine==1.0 \\\n    --hash=sha256:00\n    # via uv\n{entry}\n")) == 1


def read_lock(root: Path, name: str) -> str:
    """The text of one lock file."""
    return (root / "requirements" / f"{name}.txt").read_text()
