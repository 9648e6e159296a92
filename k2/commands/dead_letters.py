"""`k2 dlq`: list, inspect and replay dead letters."""

from typing import TYPE_CHECKING, Annotated

import typer

from k2.clock import SystemClock
from k2.commands.context import INTERRUPTED_EXIT_CODE, AsJson, known_data_type, settings_of, stop_on_signals
from k2.commands.progress import ProgressLine
from k2.errors import DeliveryError, UsageError
from k2.records.definition import source_topics

if TYPE_CHECKING:
    from k2.ingestion.dead_letter_inventory import LetterFilter

app = typer.Typer(no_args_is_help=True, help="Messages that could not become rows: list, inspect and replay them.")
OnlyDataType = Annotated[str | None, typer.Option("--data-type", help="Only those of this data type.")]
OnlyErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only this error, such as truncated.")]
OnlyStage = Annotated[str | None, typer.Option("--stage", help="Only those refused by decode, or by validate.")]
OnlyTopic = Annotated[str | None, typer.Option("--topic", help="Only of this source topic.")]


@app.command("list")
def list_letters(
    context: typer.Context,
    data_type: OnlyDataType = None,
    error_class: OnlyErrorClass = None,
    stage: OnlyStage = None,
    topic: OnlyTopic = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many letters; default 50, with --json all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every dead letter in topics and files, with its source, its error, and whether it was replayed.

    Example: k2 dlq list --data-type trades --error-class truncated
    """
    from k2.assembly.dead_letters import take_inventory
    from k2.commands.dead_letter_output import print_letters

    wanted = _filter(context, data_type, error_class, stage, topic)
    with ProgressLine("reading dead letters") as progress:
        inventory, unavailable = take_inventory(settings_of(context), wanted, progress)
    if inventory.letters or unavailable is None:
        print_letters(inventory.letters, limit, as_json)
    for line in inventory.unreadable:
        typer.echo(f"k2: {line}", err=True)
    if unavailable is not None:
        # Part of the truth is better than none at a bad hour, but it must not pass for the whole.
        raise unavailable


@app.command("show")
def show(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="Source topic, such as market.crypto.trades.")],
    partition: Annotated[int, typer.Argument(min=0, help="Source partition.")],
    offset: Annotated[int, typer.Argument(min=0, help="Source offset.")],
    as_json: AsJson = False,
) -> None:
    """One dead letter whole: headers, error, key, bytes, and what decoding says of it now.

    Example: k2 dlq show market.crypto.trades 0 1234
    """
    from k2.assembly.dead_letter_verdict import judge_now
    from k2.assembly.dead_letters import find_letters
    from k2.commands.dead_letter_output import print_letter

    settings = settings_of(context)
    for kept in find_letters(settings, _known_topic(context, topic), partition, offset):
        print_letter(kept, judge_now(settings, kept.letter), as_json)


@app.command("replay")
def replay_letters(
    context: typer.Context,
    data_type: OnlyDataType = None,
    error_class: OnlyErrorClass = None,
    stage: OnlyStage = None,
    topic: OnlyTopic = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many letters.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also send what was replayed before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the topic they came from, each once, however often this is run.

    Example: k2 dlq replay --error-class unknown_schema_id --dry-run
    """
    from k2.assembly.dead_letters import replay
    from k2.commands.dead_letter_output import print_replay

    wanted = _filter(context, data_type, error_class, stage, topic)
    stopping = stop_on_signals()
    with ProgressLine("replaying dead letters") as progress:
        done = replay(
            settings_of(context),
            wanted,
            SystemClock(),
            limit=limit,
            again=again,
            dry_run=dry_run,
            stopping=stopping,
            on_progress=progress,
        )
    print_replay(done, as_json)
    if done.result is not None and done.result.refused:
        raise typer.Exit(DeliveryError.exit_code)
    if done.result is not None and done.result.unsent:
        raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _filter(
    context: typer.Context, data_type: str | None, error_class: str | None, stage: str | None, topic: str | None
) -> "LetterFilter":
    from k2.ingestion.dead_letter_inventory import LetterFilter

    if data_type is not None:
        known_data_type(data_type)
    if stage not in (None, "decode", "validate"):
        raise UsageError(f"--stage is decode or validate, not {stage!r}")
    return LetterFilter(data_type, error_class, stage, None if topic is None else _known_topic(context, topic))


def _known_topic(context: typer.Context, topic: str) -> str:
    known = source_topics(settings_of(context).kafka.topic_prefix)
    if topic not in known:
        raise UsageError(f"there is no source topic {topic!r}: choose one of {', '.join(known)}")
    return topic
