"""`python -m conformance.stacks.containers`: the servers by themselves, or the whole deployment."""

import argparse
import contextlib
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

from conformance.stacks.containers import deployment
from conformance.stacks.containers.addresses import platform_settings
from conformance.stacks.containers.commands import guarded
from conformance.stacks.containers.run_secrets import write_private
from conformance.stacks.containers.services import open_services


def main() -> int:
    """Do what the command line says; exit codes are those of `python -m conformance engine` and `images`."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.containers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="up | down | serve")
    commands.add_parser("up", help="start the whole platform of deploy/compose.yaml, see docs/containers.md")
    down = commands.add_parser("down", help="stop it; its data stays")
    down.add_argument("--forget", action="store_true", help="remove its data and passwords too")
    serve = commands.add_parser("serve", help="run the servers of the harness until Ctrl-C")
    serve.add_argument("directory", type=Path, help="gets settings.json for K2, and logs at the end")
    arguments = parser.parse_args()
    # What a supervisor sends to end us, so that nothing is left then either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = dict(os.environ)
    if arguments.command == "up":
        return guarded(partial(_done, partial(deployment.up, environment, _say)))
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


def _done(do: partial[None]) -> int:
    do()
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
