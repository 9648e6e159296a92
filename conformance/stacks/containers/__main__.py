"""`python -m conformance.stacks.containers`: the servers by themselves, or the whole deployment."""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from conformance.stacks.containers import demo, deployment
from conformance.stacks.containers.addresses import platform_settings
from conformance.stacks.containers.commands import guarded
from conformance.stacks.containers.run_secrets import write_private
from conformance.stacks.containers.services import open_services


def main() -> int:
    """Do what the command line says; exit codes are those of `python -m conformance engine` and `images`."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.containers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="up | down | reset | serve")
    commands.add_parser("up", help="start the whole platform of deploy/compose.yaml, see docs/containers.md")
    down = commands.add_parser("down", help="stop it; its data stays")
    down.add_argument("--forget", action="store_true", help="remove its data and passwords too")
    reset = commands.add_parser("reset", help="throw away the data of a demo (DEMO=true make up), and start it again")
    reset.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    reset.add_argument("--force", action="store_true", help="do not ask")
    for component in demo.COMPONENTS:
        reset.add_argument(f"--keep-{component}", dest="keep", action="append_const", const=component, default=[])
    serve = commands.add_parser("serve", help="run the servers of the harness until Ctrl-C")
    serve.add_argument("directory", type=Path, help="gets settings.json for K2, and logs at the end")
    arguments = parser.parse_args()
    # What a supervisor sends to end us, so that nothing is left then either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = dict(os.environ)
    if arguments.command == "up":
        return guarded(partial(_done, partial(deployment.up, environment, _say)))
    if arguments.command == "reset":
        confirm = _always if arguments.force else _asked
        keep, dry_run = arguments.keep, arguments.dry_run
        return guarded(partial(_reset, partial(demo.reset, environment, _say, confirm, keep=keep, dry_run=dry_run)))
    if arguments.command == "down":
        return guarded(partial(_done, partial(deployment.down, environment, _say, forget=arguments.forget)))
    return guarded(partial(_serve, arguments.directory))


def _serve(directory: Path) -> int:
    with open_services(directory, _say) as services:
        settings = platform_settings(services.addresses(), "")
        write_private(directory / "settings.json", json.dumps(settings, indent=2) + "\n")
        _say(f"settings for K2 in {directory / 'settings.json'}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


def _reset(do: Callable[[], Sequence[object]]) -> int:
    """1 where nobody confirmed it, or there was nothing."""
    return 0 if do() else 1


def _always() -> bool:
    return True


def _asked() -> bool:
    try:
        return input("Remove all of this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _done(do: partial[None]) -> int:
    do()
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
