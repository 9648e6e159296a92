"""The checker of replays: chains of replays, and what a replay that was killed may repeat."""

from typing import Any

from conformance.checkers import replay
from conformance.checkers.verdict import Verdict, run_checker
from conformance.history import History
from conformance.planted.replay import clean_replay
from conformance.planted.suite import add_row, edit_stage, set_values, table_of, with_parameters

CLEAN = clean_replay(3)


def kinds(history: History) -> set[str]:
    verdict: Verdict = run_checker(replay.check, history)
    return {finding.kind for finding in verdict.findings}


def place(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("topic", "kafka_partition", "kafka_offset")}


def sent_again(history: History) -> History:
    return edit_stage(history, "replayed", lambda table: add_row(table, 0, kafka_offset=7_000))


def test_a_replay_that_was_killed_may_send_a_letter_again() -> None:
    assert kinds(sent_again(CLEAN)) == {"sent_twice"}
    assert kinds(sent_again(with_parameters(CLEAN, may_repeat_messages=True))) == set()


def test_either_message_of_a_letter_sent_again_may_be_the_row() -> None:
    history = sent_again(with_parameters(CLEAN, may_repeat_messages=True))
    first = place(table_of(history, "replayed").to_pylist()[0])
    row = next(number for number, stored in enumerate(table_of(CLEAN, "stored").to_pylist()) if place(stored) == first)
    moved = edit_stage(history, "stored", lambda table: set_values(table, row, kafka_offset=7_000))
    assert kinds(moved) == set()
    assert kinds(
        edit_stage(moved, "stored", lambda table: add_row(table, row, kafka_offset=first["kafka_offset"]))
    ) == {"restored_twice"}


def test_what_came_back_and_was_sent_again_still_has_the_bytes_it_began_with() -> None:
    last = table_of(CLEAN, "replayed").num_rows - 1
    assert kinds(edit_stage(CLEAN, "replayed", lambda table: set_values(table, last, sha256="0" * 64))) == {
        "sent_altered"
    }


def test_a_message_that_names_itself_repeats_no_letter() -> None:
    last = table_of(CLEAN, "replayed").num_rows - 1
    own = place(table_of(CLEAN, "replayed").to_pylist()[last])
    named = "/".join(str(value) for value in own.values())
    assert kinds(edit_stage(CLEAN, "replayed", lambda table: set_values(table, last, replay_of=named))) == {
        "sent_unasked"
    }
