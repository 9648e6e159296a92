"""Finds what a page would load from another host."""

import re
from html.parser import HTMLParser
from pathlib import Path

_LOADING = ("src", "srcset", "poster", "data", "background")
_OUTSIDE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\s\"')]+)", re.IGNORECASE)


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loading = ("href", "xlink:href") if tag in ("link", "use", "image", "base") else ()
        for name, value in attrs:
            if name in (*_LOADING, *loading) and value and _OUTSIDE.match(value):
                self.found.append(value)
            if name == "style" and value:
                self.found += _IN_STYLE.findall(value)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.found += _IN_STYLE.findall(data)


def outside_addresses(page: Path) -> list[str]:
    """Addresses on other hosts that a page or picture loads by itself; links to follow are none of them."""
    parser = _Addresses()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found
