"""Histories are written line by line and read back whole, or not at all."""

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from conformance.history import (
    Header,
    History,
    HistoryError,
    HistoryWriter,
    Operation,
    OperationOutcome,
    history_sha256,
)

HEADER = Header(
    clause="at_least_once/kill_after_write",
    claims=("CON-3b",),
    checker="delivery",
    seed=7,
    stack="embedded",
    started_wall_ns=1_760_000_000_000_000_000,
    parameters={"expected_kills": ["WRITE"]},
)
FED = pa.table({"symbol": ["BTCUSDT", "ETHUSDT"], "number": [1, 2]})


class SteppingClock:
    """A clock that moves a second with every look at it."""

    def __init__(self) -> None:
        self._seconds = 0

    def monotonic_ns(self) -> int:
        self._seconds += 1
        return self._seconds * 10**9

    def wall_ns(self) -> int:
        return 10**18 + self._seconds * 10**9


def write_example(path: Path) -> Path:
    with HistoryWriter(path, HEADER, SteppingClock()) as history:
        history.operation("producer", "produce", "ok", attributes={"records": 2})
        history.observe("fed", FED)
        history.operation("harness", "kill", "unknown")
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    history = History.read(write_example(tmp_path / "run"))
    assert history.complete
    assert history.header == HEADER
    assert [(one.process, one.action, one.outcome) for one in history.operations] == [
        ("producer", "produce", OperationOutcome.OK),
        ("harness", "kill", OperationOutcome.UNKNOWN),
    ]
    assert history.of_action("produce")[0].attributes == {"records": 2}
    assert [(one.stage, one.table) for one in history.observations] == [("fed", FED)]


def test_the_wall_time_of_an_operation_is_that_of_its_invocation(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "run", HEADER, SteppingClock()) as history, history.invoke("api", "request"):
        pass
    (operation,) = History.read(tmp_path / "run").operations
    assert operation.invoked_monotonic_ns == 10**9
    assert operation.completed_monotonic_ns == 2 * 10**9
    assert operation.wall_ns == 10**18 + 10**9


def test_an_invocation_says_how_it_ended(tmp_path: Path) -> None:
    with (
        HistoryWriter(tmp_path / "run", HEADER) as history,
        history.invoke("producer", "produce", {"topic": "t"}) as invocation,
    ):
        invocation.outcome = OperationOutcome.FAIL
        invocation.attributes["reason"] = "refused"
    (operation,) = History.read(tmp_path / "run").operations
    assert operation.outcome is OperationOutcome.FAIL
    assert operation.attributes == {"topic": "t", "reason": "refused"}


def test_a_body_that_raises_is_recorded_as_unknown_and_leaves_the_history_unfinished(tmp_path: Path) -> None:
    with (
        pytest.raises(ConnectionResetError),
        HistoryWriter(tmp_path / "run", HEADER) as history,
        history.invoke("api", "request"),
    ):
        raise ConnectionResetError("gone")
    read = History.read(tmp_path / "run")
    assert not read.complete
    assert read.operations[0].outcome is OperationOutcome.UNKNOWN
    assert read.operations[0].attributes == {"error": "ConnectionResetError: gone"}


def test_each_event_can_be_read_before_the_history_ends(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "run", HEADER) as history:
        history.operation("producer", "produce", "ok")
        history.observe("fed", FED)
        early = History.read(tmp_path / "run")
    assert (len(early.operations), len(early.observations), early.complete) == (1, 1, False)


def test_observations_of_one_stage_keep_files_of_their_own(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "run", HEADER) as history:
        history.observe("fed", FED, "trades")
        history.observe("fed", FED.slice(1), "trades")
        history.observe("fed", FED, "quotes")
    read = History.read(tmp_path / "run")
    assert [(one.data_type, one.table.num_rows) for one in read.of_stage("fed")] == [
        ("trades", 2),
        ("trades", 1),
        ("quotes", 2),
    ]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"history.jsonl", "fed-trades.arrow", "fed-trades-2.arrow", "fed-quotes.arrow"}


def test_rows_of_a_stage_name_the_data_type_they_were_observed_under(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "run", HEADER) as history:
        history.observe("fed", FED.slice(0, 1), "trades")
        history.observe("fed", FED.slice(1, 1))
    assert History.read(tmp_path / "run").rows("fed") == [
        {"data_type": "trades", "symbol": "BTCUSDT", "number": 1},
        {"symbol": "ETHUSDT", "number": 2},
    ]


def test_many_threads_write_one_history(tmp_path: Path) -> None:
    threads, each = 8, 50
    with HistoryWriter(tmp_path / "run", HEADER) as history:

        def work(number: int) -> None:
            for count in range(each):
                history.operation("producer", "produce", "ok", attributes={"thread": number, "count": count})
            history.observe("fed", FED)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    read = History.read(tmp_path / "run")
    assert read.complete
    seen = {(one.attributes["thread"], one.attributes["count"]) for one in read.operations}
    assert seen == {(number, count) for number in range(threads) for count in range(each)}
    assert len(read.of_stage("fed")) == threads


def test_a_history_cut_off_at_any_byte_is_incomplete_and_otherwise_readable(tmp_path: Path) -> None:
    whole = write_example(tmp_path / "run")
    content = (whole / "history.jsonl").read_bytes()
    after_header = content.index(b"\n") + 1
    for length in range(after_header, len(content), 7):
        (whole / "history.jsonl").write_bytes(content[:length])
        read = History.read(whole)
        assert not read.complete
        assert len(read.operations) + len(read.observations) == content[:length].count(b"\n") - 1


def test_a_history_without_its_whole_header_cannot_be_read(tmp_path: Path) -> None:
    whole = write_example(tmp_path / "run")
    (whole / "history.jsonl").write_bytes(b'{"type":"head')
    with pytest.raises(HistoryError, match="holds no whole line"):
        History.read(whole)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"type":"header"', b'"type":"trailer"', "line 1: the first line must be a header"),
        (b'"seed":7,', b"", "line 1 lacks 'seed'"),
        (b'"outcome":"unknown"', b'"outcome":"perhaps"', "line 4: 'perhaps' is not a valid OperationOutcome"),
        (b'"type":"observation"', b'"type":"hearsay"', "line 3: unknown type 'hearsay'"),
        (b'"operations":2', b'"operations":3', "line 5: the end line counts 3 operations, the history holds 2"),
        (b'"file":"fed.arrow"', b'"file":"../fed.arrow"', "line 3: '../fed.arrow' is not beside the history"),
        (b'"rows":2', b'"rows":3', "fed.arrow: holds 2 rows, the history says 3"),
        (b'{"type":"end"', b'["type":"end"', "line 5 is not JSON"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = write_example(tmp_path / "run") / "history.jsonl"
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(HistoryError, match=message.replace("(", r"\(")):
        History.read(path.parent)


def test_an_event_after_the_end_line_is_refused(tmp_path: Path) -> None:
    path = write_example(tmp_path / "run") / "history.jsonl"
    path.write_bytes(path.read_bytes() + b'{"type":"end","operations":2,"wall_ns":1}\n')
    with pytest.raises(HistoryError, match="line 6 comes after the end line"):
        History.read(path.parent)


def test_an_observation_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = write_example(tmp_path / "run") / "fed.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=r"fed\.arrow: sha256 is .* the file was changed"):
        History.read(path.parent)


def test_an_observation_that_is_gone_is_refused(tmp_path: Path) -> None:
    path = write_example(tmp_path / "run") / "fed.arrow"
    path.unlink()
    with pytest.raises(HistoryError, match=r"fed\.arrow: cannot be read"):
        History.read(path.parent)


def test_a_second_history_does_not_overwrite_the_first(tmp_path: Path) -> None:
    path = write_example(tmp_path / "run")
    before = history_sha256(path)
    with pytest.raises(HistoryError, match="holds a history already"):
        HistoryWriter(path, HEADER)
    assert history_sha256(path) == before


def test_an_attribute_that_is_not_json_is_refused_with_its_event(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "run", HEADER) as history:
        with pytest.raises(HistoryError, match="operation cannot be written as JSON"):
            history.operation("api", "request", "ok", attributes={"body": object()})
        history.operation("api", "request", "ok")
    read = History.read(tmp_path / "run")
    assert read.complete
    assert len(read.operations) == 1


@pytest.mark.parametrize("stage", ["", "Fed", "../fed", "fed.arrow", "2nd"])
def test_a_stage_whose_name_cannot_be_a_files_is_refused(tmp_path: Path, stage: str) -> None:
    with HistoryWriter(tmp_path / "run", HEADER) as history, pytest.raises(HistoryError, match="cannot name a stage"):
        history.observe(stage, FED)


def test_the_hash_covers_every_file_and_every_name(tmp_path: Path) -> None:
    path = write_example(tmp_path / "run")
    hashes = {history_sha256(path)}
    (path / "note.txt").write_text("a")
    hashes.add(history_sha256(path))
    (path / "note.txt").write_text("b")
    hashes.add(history_sha256(path))
    (path / "note.txt").rename(path / "other.txt")
    hashes.add(history_sha256(path))
    assert len(hashes) == 4


def test_the_hash_of_equal_histories_is_equal(tmp_path: Path) -> None:
    one, other = write_example(tmp_path / "one"), write_example(tmp_path / "other")
    assert history_sha256(one) == history_sha256(other)


def test_a_directory_without_a_history_has_no_hash(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="holds no history"):
        history_sha256(tmp_path)


def test_values_cannot_be_changed_after_reading(tmp_path: Path) -> None:
    history = History.read(write_example(tmp_path / "run"))
    with pytest.raises(AttributeError):
        history.complete = False  # type: ignore[misc]
    assert isinstance(history.operations[0], Operation)
