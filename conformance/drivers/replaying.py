"""Sends what a replay is for: good records, records of a producer that is a version ahead, and bad messages."""

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.drivers.curable import NewerProducer, replayed_table
from conformance.drivers.feeding import Fed, Place, feed_records, latest
from conformance.drivers.letter_files import letters_in_files
from conformance.drivers.log_tap import TappedMessage, read_all
from conformance.drivers.observing import observe_tables
from conformance.drivers.poisoning import REPLAYED_HEADER, Poisoner, letter_table, trades_topic
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.records.definition import dead_letter_topic

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """What lies in the source topic before anything is replayed."""

    fed: Fed
    newer: NewerProducer
    poisoner: Poisoner

    @property
    def letters(self) -> int:
        """How many of the messages must become dead letters."""
        return self.newer.sent + self.poisoner.sent

    def ends(self) -> dict[Place, int]:
        """For each partition the offset after the last message."""
        sent_apart = self.newer.fed().acknowledged_ends()
        return latest(self.fed.acknowledged_ends(), sent_apart, self.poisoner.ends())


def send(stack: Stack, records: Iterable[FeedRecord], *, newer_every: int, poison_every: int) -> Sent:
    """Feed the records; the first of every so many is the newer producer's, and bad messages lie among them.

    Args:
        stack: where to.
        records: trades.
        newer_every: how many records one of the newer producer's stands among.
        poison_every: records between two bad messages; 0 for none.
    """
    with NewerProducer(stack.settings.kafka) as newer, Poisoner(stack) as poisoner:
        mixed = poisoner.among(records, poison_every, PARTITIONS) if poison_every else records
        fed = feed_records(stack, newer.among(mixed, newer_every))
    return Sent(fed, newer, poisoner)


def source_messages(stack: Stack) -> list[TappedMessage]:
    """Everything in the source topic now."""
    return read_all(stack.settings.kafka.bootstrap_servers, [trades_topic(stack)])


def letter_messages(stack: Stack) -> list[TappedMessage]:
    """Everything in the dead letter topic now: letters, and the marks of replays."""
    return read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(trades_topic(stack))])


def marked(messages: Iterable[TappedMessage]) -> int:
    """How many letters are marked as replayed."""
    places = ("k2.source.topic", "k2.source.partition", "k2.source.offset")
    headers = [dict(message.headers) for message in messages]
    return len({tuple(each[name] for name in places) for each in headers if REPLAYED_HEADER in each})


def observe_replay(history: HistoryWriter, stack: Stack, sent: Sent) -> None:
    """The stages that the checker of replays reads."""
    letters = [*letter_messages(stack), *letters_in_files(stack.settings.dead_letters.directory)]
    history.observe("curable", sent.newer.table())
    history.observe("poison", sent.poisoner.table())
    history.observe("fed", sent.fed.table("trades"), "trades")
    history.observe("replayed", replayed_table(source_messages(stack)))
    history.observe("dead_letters", letter_table(letters))
    observe_tables(history, stack, ["trades"])
