"""Allure's HTML: made by the npm package `allure` where Node is there, cleared of what it would load from outside."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from reports.readiness.errors import ToolError

PACKAGE = "allure@3"
LONGEST_SECONDS = 600
# A script that is loaded or built at run time from an address: analytics, in the version this was written for.
_LOADED_SCRIPT = re.compile(r"<script\b[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>\s*</script>", re.IGNORECASE)
_LOADED_LINK = re.compile(r"<link\b[^>]*\bhref\s*=\s*[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE)
_INLINE_SCRIPT = re.compile(r"<script\b(?![^>]*\bsrc\b)[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL)
_LOADER = re.compile(r"googletagmanager|google-analytics|gtag\(|dataLayer", re.IGNORECASE)
_LONGEST_LOADER_CHARACTERS = 5_000
_POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self' data: blob: 'unsafe-inline' "
    "'unsafe-eval'; connect-src 'self' data: blob:\">"
)


def find_npx() -> str | None:
    """Path of npx; None where Node is not there."""
    return shutil.which("npx") if shutil.which("node") else None


def make_html(results: Path, out: Path, npx: str) -> None:
    """Make one HTML file of a directory of results.

    Raises:
        ToolError: the package cannot be fetched, or made no page.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [
            npx,
            "--yes",
            PACKAGE,
            "awesome",
            str(results.absolute()),
            "--single-file",
            "--group-by",
            "epic,feature",
            "-o",
            directory,
        ]
        try:
            result = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"{PACKAGE} did not end within {LONGEST_SECONDS} s") from error
        page = Path(directory) / "index.html"
        if result.returncode != 0 or not page.is_file():
            told = (f"{result.stdout}\n{result.stderr}".strip().splitlines() or ["it said nothing"])[-1]
            raise ToolError(f"{PACKAGE} made no page: {told}")
        out.write_text(without_outside(page.read_text(encoding="utf-8")), encoding="utf-8")


def without_outside(page: str) -> str:
    """The page without scripts and links to other hosts, and with a policy that forbids the rest to be reached."""
    page = _LOADED_LINK.sub("", _LOADED_SCRIPT.sub("", page))
    page = _INLINE_SCRIPT.sub(_kept, page)
    return page.replace("<head>", f"<head>{_POLICY}", 1)


def _kept(script: re.Match[str]) -> str:
    """A script as it is, unless it is a short one that does nothing but load another."""
    text = script.group()
    return "" if len(text) <= _LONGEST_LOADER_CHARACTERS and _LOADER.search(text) else text
