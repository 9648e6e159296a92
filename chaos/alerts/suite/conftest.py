"""Pytest's part: the option that the runner passes, and how people are told what is going on."""

import pytest

from chaos.alerts.execution import Say


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option the runner passes."""
    parser.addoption("--alerts-only", default=None, help="only this fault, or the faults that must fire this alert")


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """Tells at once: what pytest captures nobody sees, and this takes minutes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    terminal = request.config.get_terminal_writer()

    def told(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.line(f"        {text}")
            terminal.flush()

    return told
