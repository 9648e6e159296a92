"""Dead letters as a person and as a machine reads them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from k2.cli_output import print_rows
from k2.ingestion.dead_letter_files import base64_text, timestamp
from k2.ingestion.dead_letter_inventory import KeptLetter

if TYPE_CHECKING:
    from k2.assembly.dead_letter_verdict import Verdict
    from k2.assembly.dead_letters import Replay

SHOWN_LETTERS = 50
DUMPED_BYTES = 4_096
_BYTES_A_LINE = 16


def print_letters(letters: Sequence[KeptLetter], limit: int | None, as_json: bool) -> None:
    """Every letter as JSON, or for a person a count of each kind of error and the first letters."""
    if as_json:
        for kept in letters[:limit]:
            typer.echo(json.dumps(letter_fields(kept)))
        return
    if letters:
        print_kinds(letters)
        typer.echo()
    shown = letters[: limit or SHOWN_LETTERS]
    print_rows([_row(kept) for kept in shown], noun="letter")
    if len(shown) < len(letters):
        typer.echo(f"of {len(letters)}; --limit {len(letters)} shows all")


def print_kinds(letters: Sequence[KeptLetter]) -> None:
    """How many letters there are of each stage and error class."""
    kinds = Counter((kept.letter.stage, kept.letter.error_class) for kept in letters)
    replayed = Counter(
        (kept.letter.stage, kept.letter.error_class) for kept in letters if kept.replayed_at_ns is not None
    )
    rows = [
        {"stage": stage, "error class": error_class, "letters": number, "replayed": replayed[stage, error_class]}
        for (stage, error_class), number in kinds.most_common()
    ]
    print_rows(rows, noun="kind")


def print_letter(kept: KeptLetter, verdict: "Verdict", as_json: bool) -> None:
    """All there is to know of one letter."""
    letter = kept.letter
    if as_json:
        content = {
            "value_base64": base64_text(letter.value),
            "headers": [[name, base64_text(value)] for name, value in letter.headers],
            "now": {
                "accepted": verdict.error_class is None,
                "stage": verdict.stage,
                "error_class": verdict.error_class,
                "message": verdict.message,
                "record": verdict.record,
            },
        }
        typer.echo(json.dumps({**letter_fields(kept), **content}, default=str))
        return
    for name, text in _described(kept, verdict):
        typer.echo(f"{name:<11}{text}")
    for line in hex_dump(letter.value or b""):
        typer.echo(line)


def print_replay(replay: "Replay", as_json: bool) -> None:
    """What a replay did, or would do."""
    result = replay.result
    if as_json:
        counts: dict[str, Any] = {
            "dry_run": result is None,
            "selected": replay.selected,
            "skipped": replay.skipped,
            "to_send": len(replay.chosen),
        }
        if result is not None:
            refused = [{"source": refusal.source, "reason": refusal.reason} for refusal in result.refused]
            counts |= {"sent": result.sent, "unsent": result.unsent, "refused": refused}
        typer.echo(json.dumps(counts))
        return
    of = f"of {replay.selected} that match, {replay.skipped} replayed before"
    if result is None:
        if replay.chosen:
            print_kinds(replay.chosen)
        typer.echo(f"would send {len(replay.chosen)} {of}")
        return
    for refusal in result.refused:
        typer.echo(f"k2: {refusal.source} is refused and stays a dead letter: {refusal.reason}", err=True)
    rest = "".join(f", {number} {what}" for number, what in _left_over(replay))
    typer.echo(f"sent {result.sent}{rest} {of}")


def letter_fields(kept: KeptLetter) -> dict[str, Any]:
    """A letter without its bytes, as JSON has it."""
    letter = kept.letter
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key_base64": base64_text(letter.key),
        "size_bytes": None if letter.value is None else len(letter.value),
        "sha256": None if letter.value is None else letter.digest,
        "stage": letter.stage,
        "error_class": letter.error_class,
        "message": letter.short_message,
        "written_at": timestamp(kept.written_at_ns),
        "kept_in": list(kept.kept_in),
        "replayed_at": None if kept.replayed_at_ns is None else timestamp(kept.replayed_at_ns),
        "came_back": kept.came_back,
        "replay_of": kept.replay_of,
    }


def hex_dump(value: bytes) -> Iterator[str]:
    """Sixteen bytes a line: position, hexadecimal, what is printable; at most DUMPED_BYTES."""
    for start in range(0, min(len(value), DUMPED_BYTES), _BYTES_A_LINE):
        part = value[start : start + _BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{_BYTES_A_LINE * 3 - 1}}  |{text}|"
    if len(value) > DUMPED_BYTES:
        yield f"{len(value) - DUMPED_BYTES} more bytes; --json has all of them"


def _row(kept: KeptLetter) -> Mapping[str, Any]:
    return {
        "source": kept.letter.source,
        "error": f"{kept.letter.stage}/{kept.letter.error_class}",
        "written": timestamp(kept.written_at_ns)[:19].replace("T", " "),
        "kept in": "+".join(dict.fromkeys(place.partition(" ")[0] for place in kept.kept_in)),
        "replay": _replay_text(kept),
    }


def _replay_text(kept: KeptLetter) -> str | None:
    parts = [f"replay of {kept.replay_of}"] if kept.replay_of else []
    if kept.replayed_at_ns is not None:
        when = timestamp(kept.replayed_at_ns)[:19].replace("T", " ")
        parts.append(f"replayed {when}{', came back' if kept.came_back else ''}")
    return "; ".join(parts) or None


def _left_over(replay: "Replay") -> Iterator[tuple[int, str]]:
    assert replay.result is not None
    for number, what in ((len(replay.result.refused), "refused"), (replay.result.unsent, "left: stopped")):
        if number:
            yield number, what


def _described(kept: KeptLetter, verdict: "Verdict") -> Iterator[tuple[str, str]]:
    letter = kept.letter
    yield "source", letter.source
    yield "error", f"{letter.stage}/{letter.error_class}: {letter.short_message}"
    yield "written", timestamp(kept.written_at_ns)
    for place in kept.kept_in:
        yield "kept in", place
    yield "replay", _replay_text(kept) or "never"
    yield "key", "none" if letter.key is None else _text(letter.key)
    for name, value in letter.headers:
        yield "header", f"{name}: {'null' if value is None else _text(value)}"
    refused = f"still refused, {verdict.stage}/{verdict.error_class}: " if verdict.error_class else ""
    yield "now", f"{refused}{verdict.message}"
    if verdict.record is not None:
        yield "record", json.dumps(verdict.record, default=str)
    yield "value", "null" if letter.value is None else f"{len(letter.value)} bytes"


def _text(value: bytes) -> str:
    """Bytes as text, what is not printable escaped."""
    return value.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")
