"""Nothing in version control says where somebody's packages come from, or where their checkout lies."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

# Packages are asked for by name; each machine knows for itself where from.
PACKAGE_SOURCES = (
    r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs|yarnpkg|crates\.io|proxy\.golang|repo[\w.-]*\.maven|maven-central)",
    r"https?://(?:deb|security|snapshot|ftp[\w.]*)\.(?:debian|ubuntu)",
    r"(?<![\w-])--(?:extra-)?index-url",
    r"(?<![\w-])--find[-]links",
    r"GOPROXY=https?:",
    r'"resolved": *"https?:',
    r"registry *= *[\"']?https?:",
)
MACHINE_PATHS = (r"(?<![\w.}/-])/(?:home|Users|work|root)/[\w.-]",)
FORBIDDEN = re.compile("|".join(f"(?:{pattern})" for pattern in (*PACKAGE_SOURCES, *MACHINE_PATHS)))


def addresses(paths: Iterable[Path]) -> list[str]:
    """Lines that name a package source or an absolute path of one machine, as "path:line: text", of text files."""
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path}:{number}: {line}" for number, line in enumerate(lines, 1) if FORBIDDEN.search(line)]
    return found


def test_no_versioned_file_holds_an_address(versioned_files: list[Path]) -> None:
    assert not addresses(versioned_files)


@pytest.mark.parametrize(
    "line",
    [
        "https:" + "//registry.npmjs.example/left-pad",
        "index = 'https:" + "//mirror.pypi.example/simple'",
        "--index" + "-url http://127.0.0.1/simple",
        "--extra-index" + "-url=http://127.0.0.1/simple",
        "--find" + "-links http://127.0.0.1/wheels",
        "GOPROXY" + "=https://127.0.0.1",
        '"resolved"' + ': "https://127.0.0.1/left-pad.tgz"',
        "registry" + "=https://127.0.0.1",
        "cd /" + "home/somebody/k2",
        'path = "/' + 'root/.cache"',
    ],
)
def test_an_address_is_found(tmp_path: Path, line: str) -> None:
    document = tmp_path / "document"
    document.write_text(f"first\n{line}\n")
    assert addresses([document]) == [f"{document}:2: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "http://schema-registry:8081/subjects",
        "uv pip compile --no-emit-index-url",
        "https://example.org/home/index.html",
        "COPY --from=build /opt/work/out /usr/local/",
    ],
)
def test_other_addresses_are_let_through(tmp_path: Path, line: str) -> None:
    document = tmp_path / "document"
    document.write_text(line)
    assert not addresses([document])
