"""The one module that speaks to the engine through the Docker SDK; its exceptions become ours here."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import docker
import docker.errors
import docker.utils
import requests

from conformance.stacks.containers.errors import EngineError, EngineRefusedError, ImageError
from conformance.stacks.containers.preflight import EngineFacts

_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 1800.0
"""Longest time a build or an import may say nothing: a compiler is quiet for minutes on a slow machine."""
_SYSTEM_ERROR = re.compile(r"\[Errno \d+\] ([^'\")]+)")
_REFUSALS = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image the engine has. `image_id` is "sha256:..."."""

    image_id: str
    size_bytes: int


class EngineClient:
    """A connection to an engine; a context manager.

    Raises:
        EngineError: nothing answers at `host`, or not to us.
    """

    def __init__(self, host: str, environment: Mapping[str, str] = os.environ) -> None:
        self.host = host
        self._credentials = docker.utils.kwargs_from_env(environment=dict(environment))
        self._docker = self._connect(_ANSWER_SECONDS)

    def facts(self) -> EngineFacts:
        """What the engine says of itself, and what can be seen of its machine if that is this one."""
        try:
            information, version = self._docker.info(), self._docker.version()
        except _REFUSALS as error:
            raise _unreachable(self.host, error) from error
        data_directory = Path(information["DockerRootDir"])
        local = self.host.startswith("unix:") and data_directory.is_dir()
        return EngineFacts(
            version=version["Version"],
            api_version=version["ApiVersion"],
            operating_system=information["OSType"],
            memory_bytes=information["MemTotal"],
            available_memory_bytes=_available_memory_bytes() if local else None,
            data_directory=str(data_directory),
            free_disk_bytes=shutil.disk_usage(data_directory).free if local else None,
        )

    def image(self, reference: str) -> ImageFacts | None:
        """An image by name or id, None if the engine does not have it."""
        try:
            attributes = self._docker.api.inspect_image(reference)
        except docker.errors.ImageNotFound:
            return None
        except _REFUSALS as error:
            raise _unreachable(self.host, error) from error
        return ImageFacts(attributes["Id"], attributes["Size"])

    def pull(self, reference: str) -> ImageFacts:
        """Pull an image.

        Raises:
            ImageError: it cannot be pulled.
        """
        try:
            self._docker.images.pull(reference)
        except _REFUSALS as error:
            raise ImageError(f"{reference} cannot be pulled: {_explanation(error)}") from error
        pulled = self.image(reference)
        if pulled is None:
            raise ImageError(f"{reference} cannot be pulled: the engine does not have it afterwards")
        return pulled

    def import_root(self, archive: IO[bytes], reference: str) -> None:
        """Make an image of a tar archive of a root file system."""
        repository, _, tag = reference.rpartition(":")
        try:
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                api.import_image_from_stream(archive, repository=repository, tag=tag)
        except _REFUSALS as error:
            raise ImageError(f"{reference} cannot be imported: {_explanation(error)}") from error

    def build(
        self,
        context: IO[bytes],
        *,
        dockerfile: str,
        tag: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        network_mode: str | None,
    ) -> Iterator[str]:
        """Build an image from a tar archive, yielding what the build says as it says it.

        Raises:
            ImageError: a step failed; the message is the engine's.
        """
        try:
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                events = api.build(
                    fileobj=context,
                    custom_context=True,
                    dockerfile=dockerfile,
                    tag=tag,
                    buildargs=dict(arguments),
                    labels=dict(labels),
                    network_mode=network_mode,
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
                for event in events:
                    if "error" in event:
                        raise ImageError(str(event["error"]).strip())
                    if "stream" in event:
                        yield str(event["stream"])
        except _REFUSALS as error:
            raise ImageError(_explanation(error)) from error

    def tags(self, prefix: str) -> list[str]:
        """References of all images whose name starts so."""
        listed = self._docker.api.images()
        return sorted(tag for image in listed for tag in image.get("RepoTags") or () if tag.startswith(prefix))

    def remove_image(self, reference: str) -> bool:
        """Remove an image; False if something still uses it."""
        try:
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                api.remove_image(reference)
        except _REFUSALS:
            return False
        return True

    def prune_stages(self, label: str) -> int:
        """Remove unnamed images that carry a label; the bytes that became free."""
        try:
            # A compiler's cache is a hundred thousand files: removing it takes longer than an answer usually may.
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                answer = api.prune_images(filters={"dangling": True, "label": label})
        except _REFUSALS as error:
            raise _unreachable(self.host, error) from error
        return int(answer.get("SpaceReclaimed") or 0)

    def start_container(
        self,
        reference: str,
        *,
        label: str,
        environment: Mapping[str, str],
        command: Sequence[str] | None = None,
        health_seconds: float = 1.0,
    ) -> str:
        """Start a container of an image, looked after by the image's own health check at another interval.

        Returns:
            its id.

        Raises:
            EngineError: the engine does not start it.
        """
        try:
            settings = self._docker.api.create_container(
                reference,
                command=None if command is None else list(command),
                environment=dict(environment),
                labels=[label],
                healthcheck={"interval": int(health_seconds * 1e9)},
            )
            self._docker.api.start(settings["Id"])
        except _REFUSALS as error:
            raise EngineError(f"{reference} does not start: {_explanation(error)}") from error
        return str(settings["Id"])

    def health(self, container: str) -> str:
        """What its health check says: "starting", "healthy" or "unhealthy".

        "ended" if it does not run any more, "unknown" if its image has no such check.
        """
        state = self._docker.api.inspect_container(container)["State"]
        return str(state.get("Health", {}).get("Status", "unknown")) if state["Running"] else "ended"

    def execute(self, container: str, *command: str) -> tuple[int, str]:
        """Run a command in a container: its exit status and what it wrote."""
        execution = self._docker.api.exec_create(container, list(command))
        output = self._docker.api.exec_start(execution["Id"])
        return int(self._docker.api.exec_inspect(execution["Id"])["ExitCode"]), output.decode(errors="replace")

    def logs(self, container: str) -> str:
        """Everything a container has written."""
        return str(self._docker.api.logs(container).decode(errors="replace"))

    def containers(self, label: str) -> list[str]:
        """Ids of the containers that carry a label, running or not."""
        listed = self._docker.api.containers(all=True, filters={"label": label})
        return [str(container["Id"]) for container in listed]

    def remove_container(self, container: str) -> None:
        """End a container and remove it with what it wrote."""
        with contextlib.suppress(docker.errors.NotFound):
            self._docker.api.remove_container(container, v=True, force=True)

    def close(self) -> None:
        """End the connection."""
        self._docker.close()

    def _connect(self, timeout_seconds: float) -> Any:
        # `auto`: both sides speak the older one's version.
        settings: dict[str, Any] = {
            **self._credentials,
            "base_url": self.host,
            "version": "auto",
            "timeout": timeout_seconds,
        }
        try:
            return docker.DockerClient(**settings)
        except _REFUSALS as error:
            raise _unreachable(self.host, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _available_memory_bytes() -> int | None:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _unreachable(host: str, error: Exception) -> EngineError:
    if "PermissionError" in repr(error):
        return EngineRefusedError(
            f"no permission to use the engine at {host}: join the group that owns its socket, or run as root"
        )
    return EngineError(f"no engine answers at {host}: {_explanation(error)}")


def _explanation(error: Exception) -> str:
    """The engine's own words, or the operating system's, on one line."""
    words = " ".join(str(getattr(error, "explanation", None) or error).split())
    system = _SYSTEM_ERROR.search(words)
    return system[1] if system else words
