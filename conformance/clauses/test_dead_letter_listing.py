"""Dead letters can be listed and looked into.

`k2 dlq list` MUST show every dead letter, whether its topic or a file keeps it, with its source and its error, and
`k2 dlq show` one of them whole, with its bytes and headers (DLQ-3a).
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.dlq_command import Answer, dlq
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, latest, wait_until_drained
from conformance.drivers.letter_files import letters_in_files
from conformance.drivers.log_tap import read_all
from conformance.drivers.poisoning import (
    COPIES,
    KEY,
    Place,
    Poison,
    Poisoner,
    digest,
    headers_of,
    letter_table,
    trades_topic,
)
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import dead_letter_topic

PARTITIONS = 4
BATCH_ROWS = 25
POISON = 12 * COPIES
POISON_EVERY = 2
PRODUCE_API_KEY, TOO_LARGE = 0, 10
NOT_FRAMED, TRUNCATED = ("decode", "not_framed"), ("decode", "truncated")
ERRORS: Mapping[str, set[tuple[str, str]]] = {
    "tombstone": {("decode", "null_value")},
    "empty": {NOT_FRAMED},
    "no_frame": {NOT_FRAMED},
    "short_frame": {NOT_FRAMED},
    "unknown_schema_id": {("decode", "unknown_schema_id")},
    "truncated": {TRUNCATED},
    "surplus_byte": {("decode", "trailing_bytes")},
    # Any bytes: where reading them goes wrong is up to the bytes.
    "garbage": {("decode", "negative_length"), ("decode", "bad_utf8")},
    "negative_length": {("decode", "negative_length")},
    "huge_length": {TRUNCATED},
    "negative_price": {("validate", "price_not_positive")},
    "event_time_in_1970": {("validate", "event_time_out_of_range")},
}
"""Stage and error class that each kind of bad message must be listed under."""


@pytest.mark.clause(
    name="dead_letters_listed",
    claims=("DLQ-3a",),
    checker="facts",
    title="`k2 dlq list` and `show` tell of each dead letter its source, error, bytes and headers, whatever keeps it",
    minimum_samples=3 * POISON + len(ERRORS),
    remedy="see take_inventory in k2/assembly/dead_letters.py and k2/commands/dead_letter_output.py",
)
def test_every_dead_letter_is_listed_and_can_be_shown(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    settings = SyntheticSettings(
        seed=91, records=POISON * POISON_EVERY, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0
    )
    with (
        new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=settings.seed) as history,
    ):
        with Poisoner(stack) as poisoner:
            fed = feed_records(stack, poisoner.among(SyntheticExchange(settings), POISON_EVERY, PARTITIONS))
        # The letters of the first batch go to a file, all others to their topic.
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[TOO_LARGE])
        stack.start_consumer("trades")
        wait_until_drained(stack, history, latest(fed.acknowledged_ends(), poisoner.ends()))
        record_listing(history, stack, poisoner.places())
        record_shown(history, stack, poisoner.places())
    clause.judge()


def record_listing(history: HistoryWriter, stack: Stack, placed: Mapping[Place, Poison]) -> None:
    """What the listings say, beside what was sent and where it is kept."""
    listing = dlq(stack, "list", "--json")
    letters = listing.objects
    record_fact(history, "exit code and complaints of the listing", [0, ""], ending, listing)
    sent = sorted([*place, digest(poison.value)] for place, poison in placed.items())
    record_fact(history, "letters listed", sent, lambda: [coordinates(one) for one in letters], samples=POISON)
    record_fact(history, "letters under another's error", [], misnamed, stack, letters, placed, samples=POISON)
    kept, said = where_kept(stack), {str(coordinates(one)[:2]): kinds_of_place(one) for one in letters}
    record_fact(history, "where each letter is kept", kept, lambda: said, samples=POISON)
    both = [["file"], ["topic"]]
    record_fact(history, "both keep some", both, lambda: [kind for kind in both if kind in said.values()])
    truncated = [one for one in letters if one["error_class"] == TRUNCATED[1]]
    asked = dlq(stack, "list", "--json", "--error-class", TRUNCATED[1])
    record_fact(history, "letters of one error", truncated, lambda: asked.objects)
    counts = {" ".join(key): count for key, count in Counter((o["stage"], o["error_class"]) for o in letters).items()}
    record_fact(history, "counts a person reads", counts, counts_for_people, dlq(stack, "list"))


def record_shown(history: HistoryWriter, stack: Stack, placed: Mapping[Place, Poison]) -> None:
    """A letter of each kind as it is shown, beside what was sent."""
    one_of_each = {poison.kind: (number, place) for number, (place, poison) in enumerate(placed.items())}
    commands = [("show", trades_topic(stack), *map(str, place), "--json") for _, place in one_of_each.values()]
    with ThreadPoolExecutor(2, thread_name_prefix="operator") as pool:
        answers = list(pool.map(lambda command: dlq(stack, *command), commands))
    topic = trades_topic(stack)
    for (kind, (number, place)), answer in zip(one_of_each.items(), answers, strict=True):
        wanted = as_sent(topic, number, place, placed[place])
        record_fact(history, f"{kind} as it is shown", wanted, as_shown, kind, answer)


def ending(answer: Answer) -> list[Any]:
    """Exit code and standard error."""
    return [answer.exit_code, answer.stderr]


def coordinates(letter: Mapping[str, Any]) -> list[Any]:
    """Partition, offset and hash of a listed letter."""
    return [letter["partition"], letter["offset"], letter["sha256"] or "none"]


def misnamed(stack: Stack, letters: list[dict[str, Any]], placed: Mapping[Place, Poison]) -> list[str]:
    """Letters whose stage and error class are none of those of their kind."""
    wrong = []
    for letter in letters:
        kind = placed[letter["partition"], letter["offset"]].kind
        error = (letter["stage"], letter["error_class"])
        if error not in ERRORS[kind] or letter["topic"] != trades_topic(stack) or not letter["message"]:
            wrong.append(f"{kind}: {'/'.join(error)} {letter['message']!r}")
    return wrong


def where_kept(stack: Stack) -> dict[str, list[str]]:
    """Whether topic or files hold each letter, read without K2."""
    found = defaultdict(set)
    in_topic = read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(trades_topic(stack))])
    for kind, messages in (("topic", in_topic), ("file", letters_in_files(stack.settings.dead_letters.directory))):
        for letter in letter_table(messages).to_pylist():
            found[str([letter["kafka_partition"], letter["kafka_offset"]])].add(kind)
    return {place: sorted(kinds) for place, kinds in found.items()}


def kinds_of_place(letter: Mapping[str, Any]) -> list[str]:
    """Whether a listed letter is said to be in a topic or in files."""
    return sorted({place.partition(" ")[0] for place in letter["kept_in"]})


def counts_for_people(answer: Answer) -> dict[str, int]:
    """Letters of each stage and error class in the table that a listing for people begins with."""
    _, *rows = answer.stdout.partition("\n\n")[0].splitlines()
    cells = [row.split() for row in rows]
    return {f"{row[0]} {row[1]}": int(row[2]) for row in cells if len(row) == 4}


def as_sent(topic: str, number: int, place: Place, poison: Poison) -> dict[str, Any]:
    """What must be shown of a bad message."""
    headers = headers_of(number, poison).items()
    return {
        "source": [topic, *place],
        "is_its_error": True,
        "key": base64_text(KEY),
        "value": base64_text(poison.value),
        "headers": [[name, base64_text(value.encode())] for name, value in headers],
        "accepted_now": False,
    }


def as_shown(kind: str, answer: Answer) -> dict[str, Any]:
    """What is shown, or how the command ended that did not show one letter."""
    letters = answer.objects
    if len(letters) != 1:
        return {"letters": len(letters), "exit_code": answer.exit_code, "complaint": answer.stderr}
    (shown,) = letters
    return {
        "source": [shown["topic"], shown["partition"], shown["offset"]],
        "is_its_error": (shown["stage"], shown["error_class"]) in ERRORS[kind],
        "key": shown["key_base64"],
        "value": shown["value_base64"],
        "headers": shown["headers"],
        "accepted_now": shown["now"]["accepted"],
    }


def base64_text(value: bytes | None) -> str | None:
    """Base64, None for None."""
    return None if value is None else base64.b64encode(value).decode()
