"""Having the images of deploy/images: those that are missing are built, in order, with a line for each.

The name of an image is made of what it is made of, so that what is there is never built again; see image_catalogue.
"""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conformance.stacks.containers.build_order import chains, two_at_a_time
from conformance.stacks.containers.build_output import NO_SECONDS, BuildSeconds, BuildWatch, failure, without_colours
from conformance.stacks.containers.client import EngineClient, ImageFacts
from conformance.stacks.containers.errors import EngineError, ImageError
from conformance.stacks.containers.host_commands import last_lines
from conformance.stacks.containers.image_catalogue import (
    BASE,
    HOST_CERTIFICATES,
    PREFIX,
    Catalogue,
    Files,
    ImageSpec,
    archive,
    build_arguments,
    content_hash,
    context_files,
    dockerfile_of,
    host_certificates,
    network_of_builds,
    package_settings,
    read_catalogue,
    reference,
)
from conformance.stacks.containers.paths import IMAGE_LOGS, PROJECT_ROOT, shown
from conformance.stacks.containers.preflight import TO_BUILD, refusals
from conformance.stacks.containers.root_image import debootstrap_reference, ensure_root, present_root

STAGE_KEY = "k2.stage"
STAGE_LABEL = f"{STAGE_KEY}=build"
"""On stages that hold compilers and their caches, which are not kept once everything is built."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the stack.

    Attributes:
        name: "kafka".
        reference: what the engine calls it; None if that depends on a base that is not there yet.
        state: "present", "built", "pulled" or "missing".
        size_bytes: with everything below it; None while it is missing.
        seconds: what building it took.
    """

    name: str
    reference: str | None
    state: str
    size_bytes: int | None
    seconds: BuildSeconds = NO_SECONDS


def ensure_images(client: EngineClient, say: Say, names: Iterable[str] | None = None) -> list[Image]:
    """Have all images, or some and their base.

    Args:
        client: the engine that shall have them.
        say: told each image when it is begun and when it is there.
        names: of the images; all if None.

    Raises:
        CatalogueError: images.toml cannot be used, or has no such name.
        EngineError: the engine has no room.
        ImageError: one can neither be pulled nor built. Those before it are there, and stay.
    """
    catalogue = read_catalogue(PROJECT_ROOT)
    wanted = catalogue.images if names is None else catalogue.named(names)
    with _one_builder_at_a_time(say):
        return _Workshop(client, catalogue, say).ensure(wanted)


def list_images(client: EngineClient) -> list[Image]:
    """All images as they stand; builds and pulls nothing."""
    catalogue = read_catalogue(PROJECT_ROOT)
    root = present_root(client, catalogue)
    base = None if root is None else _base_reference(root[1])
    listed = [_as_it_stands(client, BASE, base)]
    for spec in catalogue.images:
        if spec.prefers_official and spec.official is not None and client.image(spec.official) is not None:
            listed.append(_as_it_stands(client, spec.name, spec.official))
            continue
        known = None if base is None else reference(spec.name, _tag(spec, base))
        listed.append(_as_it_stands(client, spec.name, known))
    return listed


def prune_images(client: EngineClient) -> tuple[list[str], int]:
    """Remove images of ours that the present files no longer lead to, and build stages.

    Returns:
        the references removed, and the bytes the stages held. What a container uses stays.
    """
    catalogue = read_catalogue(PROJECT_ROOT)
    current = {image.reference for image in list_images(client)} | {debootstrap_reference(catalogue.suite)}
    removed = [tag for tag in client.tags(PREFIX) if tag not in current and client.remove_image(tag)]
    return removed, client.prune_stages(STAGE_KEY)


def base_spec() -> ImageSpec:
    """The base, which has no table of its own among the images."""
    return ImageSpec(BASE, official=None, prefers_official=False, versions={}, context=())


def base_files() -> Files:
    """Context of the base: its folder and the host's certificates."""
    return {**context_files(PROJECT_ROOT, base_spec()), HOST_CERTIFICATES: (0o644, host_certificates())}


class _Workshop:
    """Builds images for one engine, one after the other."""

    def __init__(self, client: EngineClient, catalogue: Catalogue, say: Say) -> None:
        self._client = client
        self._catalogue = catalogue
        self._say = say
        self._settings = package_settings()
        self._built = 0

    def ensure(self, wanted: Iterable[ImageSpec]) -> list[Image]:
        specs = tuple(wanted)
        found = {spec.name: image for spec in specs if (image := self._official(spec)) is not None}
        if to_build := [spec for spec in specs if spec.name not in found]:
            found |= {image.name: image for image in self._ensure_built(to_build)}
        return [found[name] for name in (BASE, *(spec.name for spec in specs)) if name in found]

    def _ensure_built(self, specs: Iterable[ImageSpec]) -> list[Image]:
        root = present_root(self._client, self._catalogue)
        if root is None:
            self._refuse_without_room()
            started = time.monotonic()
            root = ensure_root(self._client, self._catalogue, IMAGE_LOGS / "root.log", self._say)
            self._say(f"{root[0]} is there after {time.monotonic() - started:.1f} s")
        root_name, root_facts = root
        images = [self._present_or_built(base_spec(), base_files(), root_name, root_facts.image_id)]
        base = str(images[0].reference)
        wanted = tuple(specs)
        images += two_at_a_time(
            chains(wanted),
            lambda spec: self._present_or_built(spec, context_files(PROJECT_ROOT, spec), base, base),
        )
        if self._built:
            self._client.prune_stages(STAGE_LABEL)
        return images

    def _official(self, spec: ImageSpec) -> Image | None:
        if not spec.prefers_official or spec.official is None:
            return None
        if (present := self._client.image(spec.official)) is not None:
            return Image(spec.name, spec.official, "present", present.size_bytes)
        started = time.monotonic()
        try:
            pulled = self._client.pull(spec.official)
        except ImageError as error:
            self._say(f"{error}; it is built instead")
            return None
        seconds = BuildSeconds(download=time.monotonic() - started)
        self._say(_line(image := Image(spec.name, spec.official, "pulled", pulled.size_bytes, seconds)))
        return image

    def _present_or_built(self, spec: ImageSpec, files: Files, base: str, base_id: str) -> Image:
        tag = reference(spec.name, content_hash(files, spec.versions, base_id))
        if (present := self._client.image(tag)) is not None:
            return Image(spec.name, tag, "present", present.size_bytes)
        if not self._built:
            self._refuse_without_room()
        self._built += 1
        log = IMAGE_LOGS / f"{spec.name}.log"
        self._say(f"{spec.name:<16} building, log in {shown(log)} ...")
        seconds = self._build(spec, tag, files, base, log)
        built = self._client.image(tag)
        if built is None:
            raise ImageError(f"image {spec.name} was built and the engine does not have it; see {shown(log)}")
        self._say(_line(image := Image(spec.name, tag, "built", built.size_bytes, seconds)))
        return image

    def _build(self, spec: ImageSpec, tag: str, files: Files, base: str, log: Path) -> BuildSeconds:
        dockerfile = dockerfile_of(spec)
        arguments = build_arguments(files[dockerfile][1].decode(), spec, base, self._settings)
        watch = BuildWatch(time.monotonic())
        output = self._client.build(
            archive(files),
            dockerfile=dockerfile,
            tag=tag,
            arguments=arguments,
            labels={"k2.image": spec.name},
            network_mode=network_of_builds(arguments),
        )
        with log.open("w") as kept:
            try:
                for text in output:
                    plain = without_colours(text)
                    kept.write(plain)
                    kept.flush()
                    watch.feed(plain, time.monotonic())
            except ImageError as error:
                kept.write(f"{error}\n")
                kept.flush()
                tail = last_lines(log)
                raise ImageError(failure(spec.name, watch.step, str(error), tail, shown(log)), tail) from None
        return watch.finish(time.monotonic())

    def _refuse_without_room(self) -> None:
        if refused := refusals(self._client.facts(), TO_BUILD):
            raise EngineError("; ".join(refused))


def _line(image: Image) -> str:
    seconds = image.seconds
    return (
        f"{image.name:<16} {image.state} in {seconds.download + seconds.build:.1f} s "
        f"(download {seconds.download:.1f}, build {seconds.build:.1f}), {(image.size_bytes or 0) / 1e6:.0f} MB"
    )


def _base_reference(root: ImageFacts) -> str:
    return reference(BASE, content_hash(base_files(), {}, root.image_id))


def _tag(spec: ImageSpec, base: str) -> str:
    return content_hash(context_files(PROJECT_ROOT, spec), spec.versions, base)


def _as_it_stands(client: EngineClient, name: str, known: str | None) -> Image:
    facts = None if known is None else client.image(known)
    if facts is None:
        return Image(name, known, "missing", None)
    return Image(name, known, "present", facts.size_bytes)


@contextmanager
def _one_builder_at_a_time(say: Say) -> Iterator[None]:
    IMAGE_LOGS.mkdir(parents=True, exist_ok=True)
    with (IMAGE_LOGS / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("somebody else is building images here; waiting for that to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
