"""What is made of dead letters found in several places, and which of them a replay sends."""

from dataclasses import replace
from typing import Any

import pytest

from k2.ingestion.dead_letter_inventory import KeptLetter, LetterFilter, ReplayMarker, fold, to_replay
from k2.ingestion.dead_letters import HEADER_REPLAY_OF
from tests.ingestion.dead_letter_samples import LETTER

QUOTES = "market.crypto.quotes"


def find(offset: int = 77, place: str = "topic t/0/1", written_at_ns: int = 10, **changes: Any) -> KeptLetter:
    return KeptLetter(replace(LETTER, offset=offset, **changes), written_at_ns, (place,))


def replayed(kept: KeptLetter, at_ns: int = 50) -> ReplayMarker:
    return ReplayMarker(kept.key, at_ns)


def replay_of(first: KeptLetter, offset: int) -> KeptLetter:
    """What a replayed letter becomes when it is rejected again."""
    mark = (HEADER_REPLAY_OF, first.letter.source.encode())
    return find(offset, headers=(*LETTER.headers, mark), value=first.letter.value)


def offsets(letters: list[KeptLetter]) -> list[int]:
    return [kept.letter.offset for kept in letters]


def test_a_letter_found_twice_is_one_that_knows_both_places_and_the_earlier_time() -> None:
    (kept,) = fold([find(place="topic t/0/5", written_at_ns=20), find(place="file a"), find(place="file a")], [])
    assert (kept.kept_in, kept.written_at_ns) == (("file a", "topic t/0/5"), 10)


def test_letters_come_in_the_order_of_their_sources() -> None:
    finds = [find(9), find(10), find(2, partition=0), find(1, topic=QUOTES)]
    sources = [kept.letter.source for kept in fold(finds, [])]
    assert sources == [f"{QUOTES}/1/1", f"{LETTER.topic}/0/2", f"{LETTER.topic}/1/9", f"{LETTER.topic}/1/10"]


@pytest.mark.parametrize("value", [b"other", b"", None])
def test_another_clusters_letter_of_the_same_coordinates_is_another_letter(value: bytes | None) -> None:
    ours, theirs = find(), find(value=value, place="file old")
    kept = fold([ours, theirs], [replayed(ours)])
    assert {(one.letter.value, one.replayed_at_ns) for one in kept} == {(LETTER.value, 50), (value, None)}


def test_the_last_of_several_markers_says_when_a_letter_was_replayed() -> None:
    (kept,) = fold([find()], [replayed(find(), 70), replayed(find(), 60)])
    assert kept.replayed_at_ns == 70


def test_a_marker_without_its_letter_is_nothing() -> None:
    assert fold([], [replayed(find())]) == ()


def test_a_replay_sends_what_was_never_sent_and_on_request_the_rest() -> None:
    letters = fold([find(1), find(2), find(3)], [replayed(find(2))])
    assert offsets(to_replay(letters, again=False)) == [1, 3]
    assert offsets(to_replay(letters, again=True)) == [1, 2, 3]


def test_of_a_letter_that_came_back_the_newer_one_is_sent() -> None:
    first = find(1)
    second = replay_of(first, 100)
    letters = fold([first, second], [replayed(first)])
    assert [(kept.came_back, kept.replay_of) for kept in letters] == [(True, None), (False, first.letter.source)]
    assert offsets(to_replay(letters, again=False)) == [100]
    assert offsets(to_replay(letters, again=True)) == [100]


def test_a_letter_that_came_back_twice_is_sent_as_the_newest() -> None:
    first = find(1)
    second = replay_of(first, 100)
    third = replay_of(second, 200)
    letters = fold([first, second, third], [replayed(first), replayed(second)])
    assert offsets(to_replay(letters, again=True)) == [200]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (LetterFilter(), {1, 2, 3}),
        (LetterFilter(data_type="trades"), {1, 2}),
        (LetterFilter(topic=QUOTES), {3}),
        (LetterFilter(stage="validate"), {2}),
        (LetterFilter(error_class="truncated"), {1, 3}),
        (LetterFilter(data_type="trades", error_class="truncated"), {1}),
        (LetterFilter(data_type="trades", topic=QUOTES), set()),
    ],
)
def test_a_filter_wants_what_fits_all_it_names(wanted: LetterFilter, found: set[int]) -> None:
    finds = [find(1), find(2, stage="validate", error_class="price"), find(3, topic=QUOTES)]
    assert {kept.letter.offset for kept in finds if wanted.wants(kept.letter)} == found
