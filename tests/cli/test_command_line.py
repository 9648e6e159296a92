"""The command as people use it: the platform up, fed, asked, stopped and killed."""

import json
import re
import signal
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from k2 import __version__
from k2.cli_output import QUOTE_COLUMNS, TRADE_COLUMNS, print_rows
from k2.feeds.capture_writer import write_capture
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from tests.cli.conftest import READY_TIMEOUT_SECONDS, Completed, Running, k2, k2_up, run_module, start_module


def query(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    answer = k2(directory, "query", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def stored(running: Running, wanted: int = 0, **filters: str) -> list[dict[str, Any]]:
    """Trades as the API answers them, asked again until there are as many as wanted."""
    query_string = urllib.parse.urlencode({"limit": "5000", **filters})
    give_up_at = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(f"{running.api_url}/v1/trades?{query_string}") as answer:
            rows: list[dict[str, Any]] = json.load(answer)["data"]
        if len(rows) >= wanted or time.monotonic() > give_up_at:
            return rows
        time.sleep(0.2)


def fed(directory: Path, *arguments: str) -> dict[str, int]:
    answer: Completed = k2(directory, "feed", "--json", *arguments)
    assert answer.returncode == 0, answer.stderr
    counts: dict[str, int] = json.loads(answer.stdout)
    return counts


def assert_all_end(processes: list[psutil.Process], timeout_seconds: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=timeout_seconds)
    assert alive == []


def test_a_platform_is_soon_up_answers_and_ends_with_everything_it_started(tmp_path: Path) -> None:
    with k2_up(tmp_path, "--rate", "500") as running:
        assert running.ready_seconds < READY_TIMEOUT_SECONDS
        assert (tmp_path / "settings.json").exists()
        assert {row["symbol"] for row in stored(running, 1, symbol="BTCUSDT")} == {"BTCUSDT"}
        assert {row["symbol"] for row in query(tmp_path, "trades", "--symbol", "BTCUSDT")} == {"BTCUSDT"}
        assert_the_directory_is_taken(running)
        children = running.children()
        assert len(children) == 6
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=30) == 0
        assert_all_end(children, timeout_seconds=1)
    assert not (tmp_path / "settings.json").exists()


def test_sigterm_half_way_through_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start_module("k2.cli", "--data-dir", str(tmp_path), "up", "--port", "0")
    # The broker has its process and the settings are written; consumers and API are still starting.
    give_up_at = time.monotonic() + READY_TIMEOUT_SECONDS
    while not (tmp_path / "settings.json").exists() and time.monotonic() < give_up_at:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "")
    assert_all_end(children, timeout_seconds=10)
    assert not (tmp_path / "settings.json").exists()


def assert_the_directory_is_taken(running: Running) -> None:
    second = k2(running.directory, "up", "--port", "0")
    assert second.returncode == 64
    assert second.stderr == f"k2: another `k2 up` runs in {running.directory}: stop it or choose another --data-dir\n"
    assert (running.directory / "warehouse").exists()


def test_what_is_fed_is_acknowledged_twice_and_written_once_and_kept_on_request(tmp_path: Path) -> None:
    directory, capture, longer = tmp_path / "data", tmp_path / "capture.gz", tmp_path / "longer.gz"
    trades = captured_trades(capture, records=600)
    # The same exchange recorded for longer: fed last, its new trades show that the repeated ones have been judged.
    all_trades = captured_trades(longer, records=900)
    with k2_up(directory, "--rate", "0") as running:
        complete = {"sent": 600, "acknowledged": 600, "failed": 0, "refused": 0, "bad_lines": 0}
        assert fed(directory, "--capture", str(capture)).items() >= complete.items()
        assert len(stored(running, trades)) == trades
        assert fed(directory, "--capture", str(capture)).items() >= complete.items()
        assert fed(directory, "--capture", str(longer))["acknowledged"] == 900
        assert fed(directory, "--synthetic", "--seed", "5", "--records", "500")["acknowledged"] == 500
        rows = stored(running, all_trades)
        assert len(rows) == len({(row["symbol"], row["trade_id"]) for row in rows}) == all_trades
        assert_it_reads_well(k2(directory, "query", "trades").stdout, TRADE_COLUMNS)
        assert_it_reads_well(k2(directory, "query", "quotes").stdout, QUOTE_COLUMNS)
        children = running.children()
        running.process.kill()
        assert_all_end(children, timeout_seconds=10)
    with k2_up(directory, "--rate", "0", "--keep") as running:
        assert len(stored(running)) == all_trades
    with k2_up(directory, "--rate", "0") as running:
        assert stored(running) == []


def captured_trades(path: Path, records: int) -> int:
    feed = list(SyntheticExchange(SyntheticSettings(seed=5, records=records, duplicate_rate=0, reorder_rate=0)))
    write_capture(feed, path)
    return sum(item.data_type == "trades" for item in feed)


def assert_it_reads_well(text: str, columns: tuple[str, ...]) -> None:
    head, *rows, last = text.splitlines()
    assert tuple(head.replace("sequence", "sequence_event").split()) == columns
    assert last == f"{len(rows)} rows"
    assert len(rows) == 20
    assert max(map(len, text.splitlines())) <= 100
    assert not re.search(r"\.\d*0(\s|$)|\.\s|…|\.\.\.", re.sub(r"\d\d:\d\d:\d\d\.\d+", "", text))


def test_values_are_printed_exactly_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rows = [
        {"at": moment, "price": Decimal("100.5000"), "count": 20, "note": None, "cut": "x" * 200},
        {"at": moment.replace(microsecond=7), "price": Decimal("0E-8"), "count": 3, "note": "a", "cut": ""},
    ]
    print_rows(rows, ("at", "price", "count", "note"))
    assert capsys.readouterr().out.splitlines() == [
        "at                          price  count  note",
        "2026-01-02 03:04:05.000     100.5     20  -",
        "2026-01-02 03:04:05.000007      0      3  a",
        "2 rows",
    ]
    print_rows(rows[:1])
    assert "x" * 200 in capsys.readouterr().out
    print_rows([])
    assert capsys.readouterr().out == "no rows\n"


def test_version_and_help_need_no_settings() -> None:
    version = run_module("k2.cli", "--version", K2_NONSENSE="1")
    assert (version.returncode, version.stdout) == (0, f"k2 {__version__}\n")
    for arguments in (["--help"], ["query", "trades", "--help"], []):
        answer = run_module("k2.cli", *arguments, K2_NONSENSE="1")
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith("Usage:")
