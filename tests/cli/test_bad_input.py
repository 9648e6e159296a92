"""Bad input to the commands: one line that says what, the documented exit code, and nothing lost."""

import gzip
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.drivers.table_view import view_table
from conformance.stacks.embedded import EmbeddedStack
from k2.errors import CaptureError
from k2.feeds.binance import BinanceCapture
from k2.feeds.capture_writer import write_capture
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES
from tests.cli.conftest import Completed, k2, run_module

NO_BROKER = {"K2_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}


def assert_one_line(answer: Completed, exit_code: int, says: str) -> None:
    assert answer.returncode == exit_code, answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert says in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nonsense"], "k2: No such option: --nonsense"),
        (["nonsense"], "k2: No such command 'nonsense'"),
        (["query"], "k2: a command is missing (see `k2 query --help`)"),
        (["query", "trades", "--limit", "many"], "Invalid value for '--limit'"),
        (
            ["query", "symbols", "--data-type", "nonsense"],
            "--data-type is trades, quotes or reference_data, not 'nonsense'",
        ),
        (["consume", "--data-type", "nonsense"], "--data-type is trades, quotes or reference_data, not 'nonsense'"),
        (["feed"], "give one of --capture FILE, --csv FILE, --us-equity FILE and --synthetic"),
        (["up", "--port", "70000"], "Invalid value for '--port'"),
        (["up", "--rate", "-1"], "Invalid value for '--rate'"),
        (["query", "trades"], "start `k2 up` or run `k2 init`"),
        (["consume"], "start `k2 up` or run `k2 init`"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_makes_no_files(tmp_path: Path, arguments: list[str], says: str) -> None:
    directory = tmp_path / "data"
    # Nothing of this machine listens on port 1, so a check that asked for a broker would take seconds.
    assert_one_line(k2(directory, *arguments, **NO_BROKER), 64, says)
    assert not directory.exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("K2_NONSENSE", "1", "environment variable K2_NONSENSE is not a setting"),
        ("K2_API__PROT", "1", "environment variable K2_API__PROT is not a setting"),
        ("K2_API__PORT", "many", "setting api.port is 'many'"),
        ("K2_LOG_LEVEL", "LOUD", "setting log_level is 'LOUD': input should be 'DEBUG'"),
        ("K2_CONSUMER__ASSET_CLASSES", "crypto", "lists and sections are written as JSON"),
    ],
)
def test_a_wrong_variable_is_one_line(tmp_path: Path, variable: str, value: str, says: str) -> None:
    assert_one_line(k2(tmp_path, "settings", **{variable: value}), 64, says)


@pytest.mark.parametrize("text", ["{nope", "[1]", '{"api": {"prot": 1}}'])
def test_a_settings_file_that_cannot_be_used_is_one_line_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    answer = k2(tmp_path, "settings")
    assert_one_line(answer, 64, "settings.json" if "prot" not in text else "setting api.prot")
    assert path.read_text() == text


def test_a_data_directory_that_is_a_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    assert_one_line(k2(path, "up", "--port", "0"), 64, "is not a directory: choose another --data-dir")
    assert path.read_text() == "mine"


def test_a_folder_of_somebody_else_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert_one_line(k2(tmp_path, "up", "--port", "0"), 64, "is not empty and not from an embedded platform")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = k2(tmp_path / "data", "up", "--port", str(port))
    assert_one_line(answer, 69, f"port {port} on 127.0.0.1 is taken")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent", None, "cannot be opened: No such file or directory"),
        ("empty", b"", "the capture is empty"),
        ("noise", b"once upon a time\n", "this file is not a capture"),
        ("noise.gz", gzip.compress(b"once upon a time\n", mtime=0), "this file is not a capture"),
        (".", None, "is a directory"),
    ],
)
def test_a_capture_that_is_none_is_one_line_before_a_broker_is_asked(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    answer = k2(tmp_path / "data", "feed", "--capture", str(path), **NO_BROKER)
    assert_one_line(answer, 64, says)
    assert str(path) in answer.stderr


def test_without_a_broker_feeding_and_consuming_end_soon(tmp_path: Path) -> None:
    assert k2(tmp_path, "init").returncode == 0
    commands = (["feed", "--synthetic", "--records", "9"], ["consume"])
    started = time.monotonic()
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(k2, tmp_path, *command, **NO_BROKER) for command in commands]
    for answer in answers:
        assert_one_line(answer.result(), 69, "no answer from 127.0.0.1:1")
    assert time.monotonic() - started < 40


def test_everything_before_the_cut_of_a_truncated_capture_is_in_the_tables(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.gz", tmp_path / "cut.gz"
    write_capture(SyntheticExchange(SyntheticSettings(seed=3, records=3_000, duplicate_rate=0)), whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    readable: list[FeedRecord] = []
    with pytest.raises(CaptureError, match="is damaged"):
        read_into(readable, cut)
    with EmbeddedStack(tmp_path / "stack") as stack:
        for data_type in RECORD_TYPES:
            stack.start_consumer(data_type)
        answer = k2(tmp_path / "stack" / "data", "feed", "--capture", str(cut))
        assert_one_line(answer, 64, "lines before it were read, fetch the file again for the rest")
        stored = rows_when_there(stack, len(readable))
    assert 500 < len(readable) < 3_000
    assert stored == len(readable)


def read_into(records: list[FeedRecord], path: Path) -> None:
    for record in BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line))):
        records.append(record)


def rows_when_there(stack: EmbeddedStack, wanted: int) -> int:
    """Number of rows, once there are as many as wanted and a moment later."""
    storage = stack.settings.storage
    give_up_at = time.monotonic() + 30
    rows = 0
    while rows < wanted and time.monotonic() < give_up_at:
        time.sleep(0.5)
        views = [view_table(storage, kind.table) for kind in RECORD_TYPES.values()]
        rows = sum(view.rows.num_rows for view in views)
    return rows


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--stack", "nonsense"], "--stack 'nonsense' is not known"),
        (["run", "--nonsense"], "No such option: --nonsense"),
        (["run", "--into", "docs", "--only", "nothing"], "is not empty and no run directory"),
    ],
)
def test_the_harness_refuses_with_its_usage_code(arguments: list[str], says: str) -> None:
    assert_one_line(run_module("conformance", *arguments), 64, says)


def test_a_gate_without_a_run_is_no_evidence() -> None:
    assert_one_line(run_module("reports", "gate", "nowhere"), 3, "there is no run directory nowhere")
