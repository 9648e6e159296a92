"""Dead letters for those who look at them and send them back: found and replayed."""

import dataclasses
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from k2.clock import Clock
from k2.errors import RefusedError, UnavailableError, UsageError
from k2.ingestion.dead_letter_files import read_letter_files
from k2.ingestion.dead_letter_inventory import Inventory, KeptLetter, LetterFilter, fold, to_replay
from k2.ingestion.dead_letter_log import (
    OnProgress,
    TopicFinds,
    ignore_progress,
    partition_counts,
    read_dead_letter_topics,
)
from k2.ingestion.replay import ReplayResult, ReplaySession
from k2.records.definition import dead_letter_topic, source_topics
from k2.settings import Settings

_LOCK = "replay.lock"


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay, done or only planned.

    Attributes:
        selected: letters the filter wants.
        skipped: those among them that were replayed before.
        chosen: those that were to be sent, in the order of their sources.
        result: what was done; None for a dry run.
    """

    selected: int
    skipped: int
    chosen: tuple[KeptLetter, ...]
    result: ReplayResult | None = None


def take_inventory(
    settings: Settings, wanted: LetterFilter, on_progress: OnProgress = ignore_progress
) -> tuple[Inventory, UnavailableError | RefusedError | None]:
    """The dead letters of topics and files that a filter wants; without a broker those of the files, and the error.

    Raises:
        UnavailableError: the files cannot be read.
    """
    topics = [name for name in source_topics(settings.kafka.topic_prefix) if wanted.wants_topic(name)]
    unavailable: UnavailableError | RefusedError | None = None
    try:
        finds = read_dead_letter_topics(settings.kafka, topics, on_progress)
    except (UnavailableError, RefusedError) as error:
        finds, unavailable = TopicFinds(), error
    in_files, unreadable = read_letter_files(settings.dead_letters.directory)
    letters = fold([*finds.letters, *in_files], finds.markers)
    chosen = tuple(kept for kept in letters if wanted.wants(kept.letter))
    return Inventory(chosen, (*finds.unreadable, *unreadable)), unavailable


def find_letters(settings: Settings, topic_name: str, partition: int, offset: int) -> list[KeptLetter]:
    """The letters of one source: mostly one, more where several clusters gave the same coordinates to messages.

    Raises:
        UsageError: there is none.
        UnavailableError: there is none in the files, and the broker does not answer.
        RefusedError: there is none in the files, and the broker refuses.
    """
    inventory, unavailable = take_inventory(settings, LetterFilter(topic=topic_name))
    source = f"{topic_name}/{partition}/{offset}"
    found = [kept for kept in inventory.letters if kept.letter.source == source]
    if not found and unavailable is not None:
        raise unavailable
    if not found:
        raise UsageError(f"there is no dead letter {source}: `k2 dlq list` shows those there are")
    return found


def replay(
    settings: Settings,
    wanted: LetterFilter,
    clock: Clock,
    *,
    limit: int | None = None,
    again: bool = False,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: OnProgress = ignore_progress,
) -> Replay:
    """Send the letters a filter wants back to their source topics, each once; a dry run only finds them.

    Raises:
        UnavailableError: the broker does not answer, or lacks a topic.
        RefusedError: the broker refuses.
        UsageError: another replay runs with the same directory.
        DeliveryError: the broker stopped taking messages; what was sent is marked.
    """
    counts = partition_counts(settings.kafka)
    if dry_run:
        return _plan(settings, wanted, limit, again)
    there = {
        name: counts[name]
        for name in source_topics(settings.kafka.topic_prefix)
        if wanted.wants_topic(name) and name in counts and dead_letter_topic(name) in counts
    }
    with _only_replay(settings), ReplaySession(settings.kafka, there, clock) as session:
        # Read only now: nobody else replays any more, so what is not marked will not be.
        plan = _plan(settings, wanted, limit, again)
        return dataclasses.replace(plan, result=session.send(plan.chosen, stopping, on_progress))


def _plan(settings: Settings, wanted: LetterFilter, limit: int | None, again: bool) -> Replay:
    inventory, unavailable = take_inventory(settings, wanted)
    if unavailable is not None:
        raise unavailable
    eligible = to_replay(inventory.letters, again=again)
    return Replay(len(inventory.letters), len(inventory.letters) - len(eligible), tuple(eligible[:limit]))


@contextmanager
def _only_replay(settings: Settings) -> Iterator[None]:
    """Keep a second replay of this directory out. Across machines the broker does: it ends the first one."""
    directory = settings.dead_letters.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("a")
    except OSError as error:
        raise UsageError(f"{directory} cannot be used ({error.strerror}): set dead_letters.directory") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another replay runs in {directory}: wait until it is done") from error
        yield
