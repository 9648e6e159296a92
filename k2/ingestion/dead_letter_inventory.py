"""All dead letters there are, wherever they are kept: folded by source, and less what was replayed.

A letter is known by its source coordinates and its bytes. The coordinates alone would do within one cluster; files
outlive clusters, and a letter must not hide behind another cluster's of the same coordinates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from k2.ingestion.dead_letters import HEADER_REPLAY_OF, DeadLetter, decoded_headers

LetterKey = tuple[str, int, int, str]
"""Topic, partition, offset, digest of the bytes."""


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter as it was found.

    Attributes:
        letter: the message and why it was refused.
        written_at_ns: when it was written, ns since the epoch; the earliest if it is kept more than once.
        kept_in: where: "file NAME" or "topic TOPIC/PARTITION/OFFSET".
        replayed_at_ns: when it was last sent back to its source topic; None if it was not.
        came_back: whether that message was rejected in its turn, so that a newer letter holds the same bytes.
    """

    letter: DeadLetter
    written_at_ns: int
    kept_in: tuple[str, ...]
    replayed_at_ns: int | None = None
    came_back: bool = False

    @property
    def key(self) -> LetterKey:
        """What makes two finds the same letter."""
        return self.letter.topic, self.letter.partition, self.letter.offset, self.letter.digest

    @property
    def replay_of(self) -> str | None:
        """The source whose replay this letter is; None if it is nobody's."""
        return decoded_headers(self.letter.headers).get(HEADER_REPLAY_OF)


@dataclass(frozen=True, slots=True)
class ReplayMarker:
    """The record that a letter was replayed."""

    key: LetterKey
    replayed_at_ns: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found.

    Attributes:
        letters: each once, in order of topic, partition and offset.
        unreadable: one line for each thing found that is neither letter nor marker.
    """

    letters: tuple[KeptLetter, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are wanted; None wants all."""

    data_type: str | None = None
    error_class: str | None = None
    stage: str | None = None
    topic: str | None = None

    def wants(self, letter: DeadLetter) -> bool:
        """Whether a letter is among them."""
        return self.wants_topic(letter.topic) and (
            self.error_class in (None, letter.error_class) and self.stage in (None, letter.stage)
        )

    def wants_topic(self, topic: str) -> bool:
        """Whether letters of a source topic can be among them."""
        return self.topic in (None, topic) and self.data_type in (None, topic.rpartition(".")[2])


def fold(finds: Iterable[KeptLetter], markers: Iterable[ReplayMarker]) -> tuple[KeptLetter, ...]:
    """Each letter once, knowing all its places and what became of it, in order of its source."""
    replayed: dict[LetterKey, int] = {}
    for marker in markers:
        replayed[marker.key] = max(marker.replayed_at_ns, replayed.get(marker.key, 0))
    folded: dict[LetterKey, KeptLetter] = {}
    for find in finds:
        known = folded.get(find.key)
        folded[find.key] = find if known is None else _merged(known, find)
    repeated = {(kept.replay_of, key[3]) for key, kept in folded.items() if kept.replay_of is not None}
    return tuple(
        replace(
            folded[key],
            replayed_at_ns=replayed.get(key),
            came_back=(folded[key].letter.source, key[3]) in repeated,
        )
        for key in sorted(folded)
    )


def to_replay(letters: Sequence[KeptLetter], *, again: bool) -> list[KeptLetter]:
    """The letters a replay sends: those never replayed, or with `again` also those replayed before.

    One that came back is never sent: the newer letter with the same bytes is.
    """
    return [kept for kept in letters if not kept.came_back and (again or kept.replayed_at_ns is None)]


def _merged(one: KeptLetter, other: KeptLetter) -> KeptLetter:
    first = min(one, other, key=lambda kept: kept.written_at_ns)
    return replace(first, kept_in=tuple(sorted({*one.kept_in, *other.kept_in})))
