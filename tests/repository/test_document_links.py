"""Every relative link of every Markdown document leads to a file."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:href|src)=\"([^\"]+)\"", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)


def relative_links(text: str) -> Iterator[str]:
    """Targets inside the repository, without their anchors; code is not searched."""
    for match in LINK.finditer(CODE_SPAN.sub("", FENCE.sub("", text))):
        target = next(group for group in match.groups() if group)
        if not ELSEWHERE.match(target):
            yield target.split("#")[0].split("?")[0]


def broken_links(documents: Iterable[Path], root: Path) -> list[str]:
    """Links to nothing, as "document -> target"; a leading slash means the repository's root."""
    return [
        f"{document.relative_to(root)} -> {target}"
        for document in documents
        for target in relative_links(document.read_text(encoding="utf-8"))
        if not (root / target.lstrip("/") if target.startswith("/") else document.parent / target).exists()
    ]


def test_every_link_leads_somewhere(versioned_files: list[Path], root: Path) -> None:
    assert not broken_links((path for path in versioned_files if path.suffix == ".md"), root)


@pytest.mark.parametrize("link", ["[a](gone.md)", "![a](gone.md)", "[a](gone.md#part 'title')", "[a]: gone.md"])
def test_a_link_to_nothing_is_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    document = tmp_path / "docs" / "page.md"
    document.write_text(f"text\n{link}\n")
    assert broken_links([document], tmp_path) == ["docs/page.md -> gone.md"]


def test_links_to_files_to_the_web_and_in_code_are_let_through(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("[a](page.md#part) [b](/page.md) [c](https://example.org/x) [d](#part) `[e](gone.md)`\n")
    assert not broken_links([document], tmp_path)
