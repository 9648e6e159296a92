"""The `k2` command: one tool for running, feeding and asking the platform.

Commands import what they run: a process that only answers questions need not load the consumer, and starts sooner.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer

from k2 import __version__
from k2.commands import alerts, audit, backup, dead_letters, feed, query, reset, tables
from k2.commands.context import (
    INTERRUPTED_EXIT_CODE,
    DataType,
    data_directory_of,
    known_data_type,
    settings_of,
    stop_on_signals,
)
from k2.commands.runbooks import command as runbooks
from k2.errors import K2Error
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.settings import load_settings

USAGE_EXIT_CODE = 64
_EXIT_CODES = (
    "Exit codes: 0 done, 64 usage, 65 data, 69 unavailable, 70 time limit, 74 not acknowledged, 75 try again, "
    "76 progress, 77 stale writer, 78 refused."
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=f"Market data platform. {_EXIT_CODES}"
)
app.add_typer(query.app, name="query")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(audit.app, name="audit")
app.add_typer(alerts.app, name="alerts")
app.add_typer(runbooks.app, name="runbooks")
app.command("rollback")(tables.rollback)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("reset")(reset.reset)
app.command("feed")(feed.feed)
_log = structlog.get_logger("k2")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"k2 {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    data_directory: Annotated[
        Path, typer.Option("--data-dir", envvar="K2_DATA_DIR", help="Where catalog, warehouse and addresses are.")
    ] = Path("k2-data"),
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read the settings once, for every command."""
    if context.resilient_parsing or "--help" in sys.argv:
        return
    settings = load_settings(data_directory)
    configure_logs(settings.log_level)
    context.obj = (settings, data_directory)


@app.command()
def up(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the API on 127.0.0.1; 0 picks a free one.")
    ] = 8000,
    rate: Annotated[float, typer.Option(min=0, help="Records a second of the synthetic exchange; 0 for none.")] = 200.0,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the tables of an earlier run.")] = False,
) -> None:
    """Run the whole platform here, without Docker, until Ctrl-C.

    Example: k2 up --port 8080, and in another terminal: k2 query trades --symbol BTCUSDT
    """
    from k2.embedded.platform import EmbeddedPlatform

    data_directory = data_directory_of(context)
    started = time.monotonic()
    stopping = stop_on_signals()
    with EmbeddedPlatform(
        data_directory, api_port=port, rate_per_second=rate, keep=keep, stopping=stopping
    ) as platform:
        if stopping():
            raise typer.Exit(INTERRUPTED_EXIT_CODE)
        typer.echo(f"K2 is up after {time.monotonic() - started:.1f} s, data in {data_directory}")
        typer.echo(f"  API      {platform.api_url}/v1/trades?symbol=BTCUSDT")
        typer.echo(f"  health   {platform.api_url}/health")
        typer.echo(f"  broker   {platform.bootstrap_servers}")
        typer.echo(f"  logs     {platform.log_directory}")
        typer.echo("Try: k2 query trades --symbol BTCUSDT    Stop: Ctrl-C")
        platform.wait()
        typer.echo("stopping")


@app.command()
def init(
    context: typer.Context,
    topics: Annotated[bool, typer.Option("--topics", help="Also the topics that are missing.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic that is created.")] = 6,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each topic that is created.")] = 3,
) -> None:
    """Create the catalog, and the tables and columns that are missing.

    Example: k2 --data-dir /srv/k2 init --topics --partitions 12
    """
    from k2.assembly.tables import create_tables

    settings = settings_of(context)
    if topics:
        from k2.ingestion.topics import create_topics
        from k2.records.definition import all_topics

        create_topics(settings.kafka, all_topics(settings.kafka.topic_prefix), partitions, replication_factor)
    create_tables(settings)


@app.command()
def consume(context: typer.Context, data_type: DataType = "trades") -> None:
    """Take one data type from Kafka into its table until SIGTERM or Ctrl-C, finishing the batch in hand.

    With K2_CONSUMER__METRICS_PORT set it serves its metrics there and prints the address.

    Example: k2 consume --data-type quotes
    """
    from k2.assembly.consuming import build_consumer, collect_seldom, exported_metrics

    settings = settings_of(context)
    chosen = settings.consumer.model_copy(update={"data_type": known_data_type(data_type)})
    metrics = Metrics()
    with exported_metrics(chosen, metrics, lambda url: typer.echo(json.dumps({"metrics_url": url}))):
        consumer = build_consumer(settings.model_copy(update={"consumer": chosen}), metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: consumer.stop())
        collect_seldom()
        consumer.run()


@app.command()
def api(context: typer.Context) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; prints its address when it listens.

    Example: K2_API__PORT=8080 k2 api
    """
    from k2.assembly.serving import serve_api

    settings = settings_of(context)
    serve_api(settings, Metrics(), lambda url: typer.echo(json.dumps({"url": url})))


@app.command("settings")
def show_settings(context: typer.Context) -> None:
    """Every setting with its value; secrets are masked.

    Example: K2_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 k2 settings
    """
    settings = settings_of(context)
    typer.echo(settings.model_dump_json(indent=2))


def main() -> None:
    """Entry point: every expected error becomes one line and its documented exit code."""
    if len(sys.argv) < 2:
        sys.argv.append("--help")
    try:
        status = app(prog_name="k2", standalone_mode=False)
    except typer.TyperException as error:
        _fail(_usage_problem(error), USAGE_EXIT_CODE)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED_EXIT_CODE)
    except K2Error as error:
        _fail(str(error), error.exit_code)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, exit_code: int) -> None:
    typer.echo(f"k2: {' '.join(message.split())}", err=True)
    sys.exit(exit_code)


def _usage_problem(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "k2"
    message = error.format_message()
    # A group without a command answers with its whole help.
    problem = "a command is missing" if message.startswith("Usage:") else message
    return f"{problem} (see `{command} --help`)"


if __name__ == "__main__":
    main()
