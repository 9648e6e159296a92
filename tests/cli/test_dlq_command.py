"""`k2 dlq` as operators use it: what is there, what is in it, and sending it back."""

import base64
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from k2.cli import main
from k2.commands.dead_letter_output import DUMPED_BYTES, hex_dump
from k2.commands.progress import ProgressLine
from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.dead_letters import HEADER_REPLAY_OF
from k2.records.definition import all_topics
from tests.cli.conftest import k2
from tests.ingestion.dead_letter_samples import keep, letters, send
from tests.ingestion.market_records import CRYPTO_TRADES, encoded, trade

NO_BROKER = "127.0.0.1:1"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Desk:
    """An operator's data directory, and commands run in this process as the entry point runs them."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def letters_directory(self) -> Path:
        return self.directory / "dead-letters"

    def run(self, *arguments: str) -> Answer:
        self.monkeypatch.setattr(sys, "argv", ["k2", "--data-dir", str(self.directory), "dlq", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return Answer(code, *self.capsys.readouterr())

    def answer(self, *arguments: str) -> str:
        answer = self.run(*arguments)
        assert (answer.returncode, answer.stderr) == (0, "")
        return answer.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.answer(*arguments, "--json").splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A desk without a broker; what a command sets up for its process is put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    logging = structlog.get_config()
    monkeypatch.setenv("K2_KAFKA__BOOTSTRAP_SERVERS", NO_BROKER)
    monkeypatch.setattr("k2.ingestion.dead_letter_log.ANSWER_TIMEOUT_SECONDS", 0.3)
    yield Desk(tmp_path / "data", monkeypatch, capsys)
    structlog.configure(**logging)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A broker, which the commands are told of."""
    with EmbeddedBroker(all_topics(), partitions=2) as broker:
        monkeypatch.setenv("K2_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
        monkeypatch.setattr("k2.ingestion.dead_letter_log.ANSWER_TIMEOUT_SECONDS", 10.0)
        yield broker.bootstrap_servers


def assert_one_line(answer: Answer, exit_code: int, says: str) -> None:
    assert answer.returncode == exit_code, answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert says in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "a command is missing (see `k2 dlq --help`)"),
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--data-type", "nonsense"], "--data-type is trades, quotes or reference_data, not 'nonsense'"),
        (["list", "--stage", "write"], "--stage is decode or validate, not 'write'"),
        (["list", "--topic", "nonsense"], "there is no source topic 'nonsense': choose one of market.equities.trades"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["show", "nonsense", "0", "0"], "there is no source topic 'nonsense'"),
        (["show", CRYPTO_TRADES, "zero", "0"], "Invalid value for 'partition'"),
        (["replay", "--data-type", "nonsense"], "--data-type is trades, quotes or reference_data, not 'nonsense'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_makes_no_files(desk: Desk, arguments: list[str], says: str) -> None:
    assert_one_line(desk.run(*arguments), 64, says)
    assert not desk.directory.exists()


def test_where_nothing_was_refused_there_is_nothing_to_list_show_or_replay(desk: Desk, address: str) -> None:
    assert desk.answer("list") == "no letters\n"
    assert desk.answer("list", "--json") == ""
    assert desk.answer("replay") == "sent 0 of 0 that match, 0 replayed before\n"
    assert_one_line(desk.run("show", CRYPTO_TRADES, "0", "7"), 64, "there is no dead letter market.crypto.trades/0/7")


def test_letters_are_counted_by_error_and_listed_with_source_place_and_replay(desk: Desk, address: str) -> None:
    send(address, *letters(1, 2, error_class="truncated"))
    keep(desk.letters_directory, *letters(2, 3, stage="validate", error_class="price_not_positive"))
    desk.answer("replay", "--stage", "validate")
    lines = desk.answer("list").splitlines()
    assert lines[0].split() == ["stage", "error", "class", "letters", "replayed"]
    assert sorted(line.split() for line in lines[1:3]) == [
        ["decode", "truncated", "2", "0"],
        ["validate", "price_not_positive", "1", "1"],
    ]
    assert lines[5].split() == ["source", "error", "written", "kept", "in", "replay"]
    assert [line.split()[0] for line in lines[6:9]] == [f"{CRYPTO_TRADES}/1/{offset}" for offset in (1, 2, 3)]
    assert [" topic " in lines[6], " topic+file " in lines[7] or " file+topic " in lines[7], " file " in lines[8]] == [
        True
    ] * 3
    assert ["replayed 20" in line for line in lines[6:9]] == [False, False, True]
    assert lines[-1] == "3 letters"


def test_a_long_list_is_cut_for_people_and_whole_for_machines(desk: Desk, address: str) -> None:
    send(address, *letters(*range(60)))
    lines = desk.answer("list").splitlines()
    assert lines[-2:] == ["50 letters", "of 60; --limit 60 shows all"]
    assert desk.answer("list", "--limit", "60").splitlines()[-1] == "60 letters"
    found = desk.objects("list")
    assert [letter["offset"] for letter in found] == list(range(60))
    assert [letter["offset"] for letter in desk.objects("list", "--limit", "2")] == [0, 1]
    assert found[7] == {
        "topic": CRYPTO_TRADES,
        "partition": 1,
        "offset": 7,
        "key_base64": base64.b64encode(b"BINANCE:BTCUSDT").decode(),
        "size_bytes": 6,
        "sha256": letters(7)[0].digest,
        "stage": "decode",
        "error_class": "truncated",
        "message": letters(7)[0].message,
        "written_at": "2025-11-13T02:13:20.000000+00:00",
        "kept_in": found[7]["kept_in"],
        "replayed_at": None,
        "came_back": False,
        "replay_of": None,
    }
    assert found[7]["kept_in"][0].startswith(f"topic {CRYPTO_TRADES}.dlq/")


def test_one_letter_is_shown_whole_with_what_decoding_says_now(desk: Desk, address: str) -> None:
    sound = encoded(trade(1, 1))
    send(address, *letters(1), *letters(2, value=sound), *letters(3, value=None, key=None))
    text = desk.answer("show", CRYPTO_TRADES, "1", "1")
    for line in (
        "source     market.crypto.trades/1/1",
        "error      decode/truncated: price at byte 12 of the body: it ends beyond the end of the message",
        "key        BINANCE:BTCUSDT",
        "header     traceparent: 00-abc",
        "header     empty: null",
        "now        still refused, decode/not_framed: 6 bytes do not begin with a zero and a schema id",
        "value      6 bytes",
        "00000000  6a 75 6e 6b 20 31                                |junk 1|",
    ):
        assert line in text.splitlines()
    assert "now        accepted: a replay makes it a row" in desk.answer("show", CRYPTO_TRADES, "1", "2")
    (letter,) = desk.objects("show", CRYPTO_TRADES, "1", "2")
    assert base64.b64decode(letter["value_base64"]) == sound
    assert letter["headers"][0] == ["traceparent", base64.b64encode(b"00-abc").decode()]
    assert (letter["now"]["accepted"], letter["now"]["record"]["symbol"]) == (True, "BTCUSDT")
    assert "value      null" in desk.answer("show", CRYPTO_TRADES, "1", "3").splitlines()


def test_a_replay_says_what_it_would_do_what_it_did_and_what_it_need_not_do(desk: Desk, address: str) -> None:
    send(address, *letters(1, 2, 3))
    assert desk.answer("replay", "--dry-run").splitlines()[-1] == "would send 3 of 3 that match, 0 replayed before"
    (planned,) = desk.objects("replay", "--dry-run", "--limit", "2")
    assert planned == {"dry_run": True, "selected": 3, "skipped": 0, "to_send": 2}
    (done,) = desk.objects("replay", "--limit", "2")
    assert done == {
        "dry_run": False,
        "selected": 3,
        "skipped": 0,
        "to_send": 2,
        "sent": 2,
        "unsent": 0,
        "refused": [],
    }
    assert desk.answer("replay") == "sent 1 of 3 that match, 2 replayed before\n"
    assert desk.answer("replay") == "sent 0 of 3 that match, 3 replayed before\n"
    assert desk.answer("replay", "--again") == "sent 3 of 3 that match, 0 replayed before\n"


def test_a_letter_that_cannot_go_back_is_named_and_the_exit_code_says_so(desk: Desk, address: str) -> None:
    keep(desk.letters_directory, *letters(1), *letters(2, value=bytes(10_000_000)), max_bytes=20_000_000)
    answer = desk.run("replay")
    assert (answer.returncode, answer.stdout) == (74, "sent 1, 1 refused of 2 that match, 0 replayed before\n")
    assert "market.crypto.trades/1/2 is refused and stays a dead letter: " in answer.stderr


def test_without_a_broker_the_files_are_still_listed_and_the_exit_code_says_that_it_is_not_all(desk: Desk) -> None:
    keep(desk.letters_directory, *letters(1, 2))
    answer = desk.run("list", "--json")
    assert answer.returncode == 69
    assert [json.loads(line)["offset"] for line in answer.stdout.splitlines()] == [1, 2]
    assert answer.stderr.startswith(f"k2: no answer from {NO_BROKER}")
    shown = desk.run("show", CRYPTO_TRADES, "1", "2")
    assert (shown.returncode, "junk 2" in shown.stdout) == (0, True)


@pytest.mark.parametrize("command", [["list"], ["replay"], ["show", CRYPTO_TRADES, "0", "0"]])
def test_without_a_broker_and_files_every_command_is_one_line(desk: Desk, command: list[str]) -> None:
    assert_one_line(desk.run(*command), 69, f"no answer from {NO_BROKER}")
    assert not desk.directory.exists()


def test_what_a_crash_left_of_a_line_is_told_beside_the_letters(desk: Desk, address: str) -> None:
    keep(desk.letters_directory, *letters(1, 2))
    (path,) = desk.letters_directory.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    answer = desk.run("list", "--json")
    assert (answer.returncode, len(answer.stdout.splitlines())) == (0, 1)
    assert answer.stderr.startswith(f"k2: {path} line 2: cut off after ")


def test_a_letter_that_was_rejected_again_says_whose_replay_it_is(desk: Desk, address: str) -> None:
    source = f"{CRYPTO_TRADES}/1/1"
    send(address, *letters(1))
    desk.answer("replay")
    # As the consumer writes it when it meets the replayed message.
    send(address, *letters(900, value=b"junk 1", headers=((HEADER_REPLAY_OF, source.encode()),)))
    first, second = desk.objects("list")
    assert (first["came_back"], first["replayed_at"] is None, first["replay_of"]) == (True, False, None)
    assert (second["came_back"], second["replayed_at"], second["replay_of"]) == (False, None, source)
    lines = desk.answer("list").splitlines()
    assert lines[-3].endswith(", came back")
    assert lines[-2].endswith(f"replay of {source}")
    assert desk.answer("replay", "--again") == "sent 1 of 2 that match, 1 replayed before\n"


@pytest.mark.parametrize(("is_terminal", "shown"), [(True, "\r\x1b[Kreading: 1 of 2,000\r\x1b[K"), (False, "")])
def test_progress_is_one_line_that_a_terminal_alone_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool, shown: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with ProgressLine("reading") as progress:
        progress(1, 2_000)
        progress(2, 2_000)
    assert capsys.readouterr() == ("", shown)


def test_bytes_are_dumped_up_to_a_limit() -> None:
    assert list(hex_dump(b"")) == []
    assert list(hex_dump(b"0123456789abcdef\x00\xff")) == [
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  00 ff                                            |..|",
    ]
    lines = list(hex_dump(bytes(DUMPED_BYTES + 3)))
    assert (len(lines), lines[-1]) == (DUMPED_BYTES // 16 + 1, "3 more bytes; --json has all of them")


@pytest.mark.parametrize("command", [["list"], ["show"], ["replay"]])
def test_help_shows_an_example_and_needs_no_settings(desk: Desk, command: list[str]) -> None:
    desk.monkeypatch.setenv("K2_NONSENSE", "1")
    assert f"Example: k2 dlq {command[0]}" in desk.answer(*command, "--help")


def test_the_command_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    answer = k2(tmp_path / "data", "dlq", "list", "--topic", "nonsense")
    assert_one_line(Answer(answer.returncode, answer.stdout, answer.stderr), 64, "there is no source topic 'nonsense'")
