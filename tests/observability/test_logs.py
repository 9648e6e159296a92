"""Logs: JSON lines on standard error, from the chosen level on."""

import json
import subprocess
import sys

import pytest

SPEAK = """
import sys, structlog
from k2.observability.logs import configure_logs
configure_logs(sys.argv[1])
structlog.contextvars.bind_contextvars(request_id="r1")
log = structlog.get_logger("k2")
log.debug("quiet")
log.info("said", rows=3)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines(level: str) -> list[dict[str, object]]:
    answer = subprocess.run([sys.executable, "-c", SPEAK, level], capture_output=True, text=True, check=True)
    assert answer.stdout == ""
    return [json.loads(line) for line in answer.stderr.splitlines()]


def test_every_line_is_one_json_object_with_level_time_and_context() -> None:
    said, failed = lines("INFO")
    assert {key: said[key] for key in ("event", "rows", "level", "request_id")} == {
        "event": "said", "rows": 3, "level": "info", "request_id": "r1",
    }  # fmt: skip
    assert str(said["timestamp"]).endswith("Z")
    assert "ZeroDivisionError" in str(failed["exception"])


@pytest.mark.parametrize(
    ("level", "events"), [("debug", ["quiet", "said", "failed"]), ("ERROR", ["failed"]), ("CRITICAL", [])]
)
def test_a_level_hides_what_is_below_it(level: str, events: list[str]) -> None:
    assert [line["event"] for line in lines(level)] == events
