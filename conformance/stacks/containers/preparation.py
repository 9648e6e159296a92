"""What comes before servers can be started, and what each part of a run on them took."""

import json
import time
from pathlib import Path

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.engine import ensure_engine
from conformance.stacks.containers.image_catalogue import read_catalogue
from conformance.stacks.containers.images import Image, Say, ensure_images
from conformance.stacks.containers.paths import OF_WORKERS, PROJECT_ROOT
from conformance.stacks.containers.preflight import TO_RUN

PLATFORM_IMAGE = "k2"
SECONDS_FILE = "services/seconds.json"


def server_images(client: EngineClient, say: Say) -> list[Image]:
    """The image of every server; K2's own is no server."""
    servers = [spec.name for spec in read_catalogue(PROJECT_ROOT).images if spec.name != PLATFORM_IMAGE]
    return ensure_images(client, say, servers)


def prepare(say: Say) -> dict[str, float]:
    """Have an engine that suits, and every server's image.

    Returns:
        seconds: "engine" to install and start one, "download" and "build" of the images.

    Raises:
        EngineError: no engine, or not enough room.
        ImageError: an image cannot be had.
    """
    started = time.monotonic()
    engine = ensure_engine(TO_RUN, say)
    engine_seconds = time.monotonic() - started
    with EngineClient(engine.host) as client:
        images = server_images(client, say)
    return {
        "engine": engine_seconds,
        "download": sum(image.seconds.download for image in images),
        "build": sum(image.seconds.build for image in images),
    }


def keep_seconds(directory: Path, start_seconds: float, stop_seconds: float) -> None:
    """Leave with a run what its servers took to come up and to go."""
    path = directory / SECONDS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"start": start_seconds, "stop": stop_seconds}) + "\n")


def kept_seconds(directory: Path) -> dict[str, float]:
    """What `keep_seconds` left in a run; of several servers side by side, the longest. Nothing where none came up."""
    of_workers = [json.loads(path.read_text()) for path in directory.glob(f"{OF_WORKERS}/*/{SECONDS_FILE}")]
    longest = {what: max(one[what] for one in of_workers) for what in ("start", "stop")} if of_workers else {}
    own = directory / SECONDS_FILE
    alone: dict[str, float] = json.loads(own.read_text()) if own.exists() else {}
    return {what: longest.get(what, 0.0) + alone.get(what, 0.0) for what in longest | alone}
