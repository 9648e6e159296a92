"""What `python -m conformance engine` and `python -m conformance images` print. Each returns its exit code."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.engine import Engine, NoEngine, ensure_engine, find_engine, stop_engine
from conformance.stacks.containers.engine_search import Remedy, forbidden, host_facts, remedy
from conformance.stacks.containers.errors import ContainersError, EngineError, ImageError
from conformance.stacks.containers.image_catalogue import read_catalogue
from conformance.stacks.containers.images import Image, ensure_images, list_images, prune_images
from conformance.stacks.containers.paths import PROJECT_ROOT
from conformance.stacks.containers.preflight import GIBIBYTE, TO_RUN, TO_USE, refusals

_UNAVAILABLE_EXIT_CODE = EngineError.exit_code
_INTERRUPTED_EXIT_CODE = 130
_MEGABYTE = 1e6


def engine_command(environment: dict[str, str], *, start: bool, stop: bool, as_json: bool) -> int:
    """Show the engine, start one, or stop the one that was started here.

    Returns:
        0 if there is one that suits the stack (or it was stopped), 69 if not.
    """
    if stop:
        stopped = stop_engine()
        print("engine: stopped, with its containers" if stopped else "engine: none was started here; nothing to stop")
        return 0
    if start:
        ensure_engine(TO_USE, _say_to(as_json), environment)
    found = find_engine(environment)
    if isinstance(found, NoEngine):
        would = Remedy.NOTHING if found.refused or forbidden(environment) else remedy(environment, host_facts())
        missing = {"engine": None, "reason": found.reason, "would": would.value}
        print(json.dumps(missing) if as_json else _absence(found, would))
        return _UNAVAILABLE_EXIT_CODE
    refused = refusals(found.facts, TO_RUN)
    if as_json:
        print(json.dumps({"engine": asdict(found), "refusals": refused}))
    else:
        print(_presence(found))
        print("\n".join(f"engine: {line}" for line in refused) or "engine: suits the container stack")
    return _UNAVAILABLE_EXIT_CODE if refused else 0


def images_command(
    environment: dict[str, str], *, only: Sequence[str], list_only: bool, prune: bool, as_json: bool
) -> int:
    """Have the images, list them, or remove those no longer used.

    Returns:
        0; what fails is raised.
    """
    say = _say_to(as_json)
    if list_only or prune:
        found = find_engine(environment)
        if isinstance(found, NoEngine):
            raise EngineError(f"{found.reason}; `python -m conformance engine` says what can be done")
        with EngineClient(found.host, environment) as client:
            if prune:
                removed, stage_bytes = prune_images(client)
                print(f"images: {len(removed)} removed, and {stage_bytes / _MEGABYTE:.0f} MB of build stages")
                return 0
            _show(list_images(client), as_json)
        return 0
    read_catalogue(PROJECT_ROOT).named(only)
    engine = ensure_engine(TO_USE, say, environment)
    with EngineClient(engine.host, environment) as client:
        _show(ensure_images(client, say, only or None), as_json)
    return 0


def guarded(command: Callable[[], int]) -> int:
    """Run a command; what it raises becomes one line and an exit code."""
    try:
        return command()
    except ContainersError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("conformance: interrupted; what was finished stays, run it again to go on", file=sys.stderr)
        return _INTERRUPTED_EXIT_CODE


def tell(error: ContainersError) -> int:
    """Say what went wrong, in one line below the end of a build's log; returns the exit code for it."""
    if isinstance(error, ImageError) and error.tail:
        print("\n".join(f"    {line}" for line in error.tail.splitlines()), file=sys.stderr)
    print(f"conformance: {error}", file=sys.stderr)
    return error.exit_code


def _say_to(as_json: bool) -> Callable[[str], None]:
    # JSON has standard output for itself.
    return lambda text: print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


def _absence(found: NoEngine, would: Remedy) -> str:
    do = {
        Remedy.NOTHING: "nothing can be done here: start Docker 20.10 or newer, or name its address with DOCKER_HOST",
        Remedy.START: "what needs it would start dockerd",
        Remedy.INSTALL_AND_START: "what needs it would install docker.io with apt-get and start dockerd",
    }[would]
    return f"engine: {found.reason}\nengine: {do}"


def _presence(found: Engine) -> str:
    facts = found.facts
    whose = "" if found.started_here is None else f", started here (process {found.started_here})"
    memory = facts.memory_bytes if facts.available_memory_bytes is None else facts.available_memory_bytes
    disk = "unknown" if facts.free_disk_bytes is None else f"{facts.free_disk_bytes / GIBIBYTE:.1f} GiB"
    return (
        f"engine: {facts.version} (API {facts.api_version}) at {found.host}{whose}\n"
        f"engine: {memory / GIBIBYTE:.1f} GiB of memory and {disk} of disk free, images in {facts.data_directory}"
    )


def _show(images: Sequence[Image], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(image) for image in images]))
        return
    for image in images:
        size = "" if image.size_bytes is None else f"{image.size_bytes / _MEGABYTE:.0f} MB"
        print(f"{image.name:<16} {image.state:<8} {size:>8}  {image.reference or 'its base is not there yet'}")
    missing = sum(image.state == "missing" for image in images)
    built = sum(image.state == "built" for image in images)
    print(f"images: {len(images) - missing} of {len(images)} there, {built} built now")
