"""The image the base is built on: Debian's own where it can be had, otherwise one made here by debootstrap."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from conformance.stacks.containers.client import EngineClient, ImageFacts
from conformance.stacks.containers.debootstrap import root_file_system
from conformance.stacks.containers.errors import ImageError
from conformance.stacks.containers.image_catalogue import PREFIX, Catalogue
from conformance.stacks.containers.paths import shown

Say = Callable[[str], None]


def present_root(client: EngineClient, catalogue: Catalogue) -> tuple[str, ImageFacts] | None:
    """The root image the engine already has, with its name."""
    for reference in (catalogue.base_official, debootstrap_reference(catalogue.suite)):
        if (facts := client.image(reference)) is not None:
            return reference, facts
    return None


def ensure_root(client: EngineClient, catalogue: Catalogue, log: Path, say: Say) -> tuple[str, ImageFacts]:
    """The root image: present, pulled, or made here; with its name.

    Raises:
        ImageError: it can neither be pulled nor made.
    """
    if (present := present_root(client, catalogue)) is not None:
        return present
    try:
        return catalogue.base_official, client.pull(catalogue.base_official)
    except ImageError as error:
        say(f"{error}; making a base with debootstrap, log in {shown(log)} ...")
    reference = debootstrap_reference(catalogue.suite)
    with root_file_system(catalogue.suite, log) as root:
        _import(client, root, reference)
    made = client.image(reference)
    if made is None:
        raise ImageError(f"{reference} was made and the engine does not have it; see {shown(log)}")
    return reference, made


def debootstrap_reference(suite: str) -> str:
    """Name of the root image that debootstrap makes."""
    return f"{PREFIX}debian:{suite}"


def _import(client: EngineClient, root: Path, reference: str) -> None:
    command = ("tar", "--create", "--one-file-system", "--directory", str(root), ".")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as packing:
        assert packing.stdout is not None
        client.import_root(packing.stdout, reference)
    if packing.returncode != 0:
        raise ImageError(f"the base could not be packed: tar ended with exit status {packing.returncode}")
