"""The one module that speaks to the engine through the Docker SDK; its exceptions become ours here."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import docker
import docker.errors
import docker.utils
import psutil
import requests

from conformance.stacks.containers.errors import EngineError, EngineRefusedError, ImageError
from conformance.stacks.containers.preflight import EngineFacts

_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 1800.0
"""Longest time a build or an import may say nothing: a compiler is quiet for minutes on a slow machine."""
_SYSTEM_ERROR = re.compile(r"\[Errno \d+\] ([^'\")]+)")
REFUSALS = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)
"""What the SDK raises where an engine does not do what it is asked."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image the engine has. `image_id` is "sha256:..."."""

    image_id: str
    size_bytes: int


class EngineClient:
    """A connection to an engine; a context manager.

    Args:
        host: as DOCKER_HOST names it.
        environment: where the credentials for it are named.
        answer_seconds: how long an answer may take.

    Raises:
        EngineError: nothing answers at `host`, or not to us.
    """

    def __init__(
        self, host: str, environment: Mapping[str, str] = os.environ, answer_seconds: float = _ANSWER_SECONDS
    ) -> None:
        self.host = host
        self._credentials = docker.utils.kwargs_from_env(environment=dict(environment))
        self._docker = self._connect(answer_seconds)

    def facts(self) -> EngineFacts:
        """What the engine says of itself, and what can be seen of its machine if that is this one."""
        try:
            information, version = self._docker.info(), self._docker.version()
        except REFUSALS as error:
            raise _unreachable(self.host, error) from error
        data_directory = Path(information["DockerRootDir"])
        local = self.host.startswith("unix:") and data_directory.is_dir()
        return EngineFacts(
            version=version["Version"],
            api_version=version["ApiVersion"],
            operating_system=information["OSType"],
            memory_bytes=information["MemTotal"],
            available_memory_bytes=psutil.virtual_memory().available if local else None,
            data_directory=str(data_directory),
            free_disk_bytes=shutil.disk_usage(data_directory).free if local else None,
        )

    def image(self, reference: str) -> ImageFacts | None:
        """An image by name or id, None if the engine does not have it."""
        try:
            attributes = self._docker.api.inspect_image(reference)
        except docker.errors.ImageNotFound:
            return None
        except REFUSALS as error:
            raise _unreachable(self.host, error) from error
        return ImageFacts(attributes["Id"], attributes["Size"])

    def pull(self, reference: str) -> ImageFacts:
        """Pull an image.

        Raises:
            ImageError: it cannot be pulled.
        """
        try:
            self._docker.images.pull(reference)
        except REFUSALS as error:
            raise ImageError(f"{reference} cannot be pulled: {explanation(error)}") from error
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
        except REFUSALS as error:
            raise ImageError(f"{reference} cannot be imported: {explanation(error)}") from error

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
        except REFUSALS as error:
            raise ImageError(explanation(error)) from error

    def tags(self, prefix: str) -> list[str]:
        """References of all images whose name starts so."""
        listed = self._docker.api.images()
        return sorted(tag for image in listed for tag in image.get("RepoTags") or () if tag.startswith(prefix))

    def remove_image(self, reference: str) -> bool:
        """Remove an image; False if something still uses it."""
        try:
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                api.remove_image(reference)
        except REFUSALS:
            return False
        return True

    def prune_stages(self, label: str) -> int:
        """Remove unnamed images that carry a label; the bytes that became free."""
        try:
            # A compiler's cache is a hundred thousand files: removing it takes longer than an answer usually may.
            with contextlib.closing(self._connect(_SILENCE_SECONDS).api) as api:
                answer = api.prune_images(filters={"dangling": True, "label": label})
        except REFUSALS as error:
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
        except REFUSALS as error:
            raise EngineError(f"{reference} does not start: {explanation(error)}") from error
        return str(settings["Id"])

    def health(self, container: str) -> str:
        """What its health check says: "starting", "healthy" or "unhealthy".

        "ended" if it does not run any more, "unknown" if its image has no such check.
        """
        state = self._docker.api.inspect_container(container)["State"]
        return str(state.get("Health", {}).get("Status", "unknown")) if state["Running"] else "ended"

    def health_check(self, container: str) -> tuple[str, ...]:
        """The command by which its image asks whether the service is well; empty if it has none."""
        with self._answering():
            configuration = self._docker.api.inspect_container(container)["Config"]
        test = (configuration.get("Healthcheck") or {}).get("Test") or ["NONE"]
        kind, *arguments = test
        return {"CMD": tuple(arguments), "CMD-SHELL": ("sh", "-c", *arguments)}.get(kind, ())

    def execute(self, container: str, *command: str) -> tuple[int, str]:
        """Run a command in a container: its exit status and what it wrote."""
        execution = self._docker.api.exec_create(container, list(command))
        output = self._docker.api.exec_start(execution["Id"])
        return int(self._docker.api.exec_inspect(execution["Id"])["ExitCode"]), output.decode(errors="replace")

    def succeeds(self, container: str, *command: str) -> bool:
        """Whether a command in a container ends well; False also where the container does not run."""
        try:
            return self.execute(container, *command)[0] == 0
        except docker.errors.APIError:
            return False

    def exit_status(self, container: str) -> int | None:
        """Exit status of the container's process; None while it runs."""
        with self._answering():
            state = self._docker.api.inspect_container(container)["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def logs(self, container: str, *, timestamps: bool = False, since_seconds: float | None = None) -> str:
        """What a container has written, all of it or from a time on (since the epoch).

        With timestamps each line stands behind its time, UTC.
        """
        with self._answering():
            written = self._docker.api.logs(container, timestamps=timestamps, since=since_seconds)
        return str(written.decode(errors="replace"))

    def memory_bytes(self, container: str) -> int:
        """What a container's processes hold, without what the kernel only caches for them."""
        with self._answering():
            memory = self._docker.api.stats(container, stream=False, one_shot=True)["memory_stats"]
        cached = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
        return int(memory["usage"] - cached)

    def networks(self, container: str) -> list[str]:
        """Names of the networks a container is in."""
        with self._answering():
            return sorted(self._docker.api.inspect_container(container)["NetworkSettings"]["Networks"])

    def disconnect(self, container: str, network: str) -> None:
        """Take it out of a network: nobody there reaches it, nor it them."""
        with self._answering():
            self._docker.api.disconnect_container_from_network(container, network, force=True)

    def connect(self, container: str, network: str, alias: str) -> None:
        """Put it into a network, known there by a name."""
        with self._answering():
            self._docker.api.connect_container_to_network(container, network, aliases=[alias])

    def is_paused(self, container: str) -> bool:
        """Whether its processes are frozen."""
        with self._answering():
            return bool(self._docker.api.inspect_container(container)["State"]["Paused"])

    def pause(self, container: str) -> None:
        """Freeze its processes: connections stay, and nobody answers."""
        with self._answering():
            self._docker.api.pause(container)

    def resume(self, container: str) -> None:
        """Let paused processes go on."""
        with self._answering():
            self._docker.api.unpause(container)

    def gateway(self, network: str) -> str | None:
        """The engine's own address in a network; None where it does not say."""
        with self._answering():
            configured = self._docker.api.inspect_network(network)["IPAM"].get("Config") or [{}]
        gateway: str | None = configured[0].get("Gateway")
        return gateway

    def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """Send a signal to its first process; what it wrote stays."""
        with self._answering():
            self._docker.api.kill(container, signal)

    def stop_container(self, container: str, patience_seconds: int = 10) -> None:
        """Ask it to end, and insist after a while; what it wrote stays."""
        with self._answering():
            self._docker.api.stop(container, timeout=patience_seconds)

    def start_again(self, container: str) -> None:
        """Start a container that has ended."""
        with self._answering():
            self._docker.api.start(container)

    def containers(self, label: str) -> list[str]:
        """Ids of the containers that carry a label, running or not."""
        listed = self._docker.api.containers(all=True, filters={"label": label})
        return [str(container["Id"]) for container in listed]

    def labels(self, label: str) -> list[Mapping[str, str]]:
        """The labels of every container, network and volume that carries this one."""
        chosen = {"label": label}
        with self._answering():
            found = [
                *self._docker.api.containers(all=True, filters=chosen),
                *self._docker.api.networks(filters=chosen),
                *(self._docker.api.volumes(filters=chosen)["Volumes"] or ()),
            ]
        return [one.get("Labels") or {} for one in found]

    def remove_labelled(self, label: str) -> None:
        """Remove every container, network and volume that carries a label, containers at once and side by side."""
        chosen = {"label": label}
        with self._answering():
            if found := self.containers(label):
                with ThreadPoolExecutor(len(found)) as pool:
                    list(pool.map(self.remove_container, found))
            for network in self._docker.api.networks(filters=chosen):
                self._remove_network(network["Id"])
            for volume in self._docker.api.volumes(filters=chosen)["Volumes"] or ():
                with contextlib.suppress(docker.errors.NotFound):
                    self._docker.api.remove_volume(volume["Name"])

    def remove_container(self, container: str) -> None:
        """End a container and remove it with what it wrote."""
        try:
            self._docker.api.remove_container(container, v=True, force=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            # Somebody else is at it: the same end.
            if "already in progress" not in str(error.explanation):
                raise

    def _remove_network(self, network: str) -> None:
        try:
            self._docker.api.remove_network(network)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            # Docker 20.10 under load may count endpoints of containers that are gone, until it is started again.
            is_miscounted = "has active endpoints" in str(error.explanation)
            if not is_miscounted or self._docker.api.inspect_network(network)["Containers"]:
                raise

    def close(self) -> None:
        """End the connection."""
        self._docker.close()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except REFUSALS as error:
            raise EngineError(f"the engine at {self.host} does not do it: {explanation(error)}") from error

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
        except REFUSALS as error:
            raise _unreachable(self.host, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _unreachable(host: str, error: Exception) -> EngineError:
    if "PermissionError" in repr(error):
        return EngineRefusedError(
            f"no permission to use the engine at {host}: join the group that owns its socket, or run as root"
        )
    return EngineError(f"no engine answers at {host}: {explanation(error)}")


def explanation(error: Exception) -> str:
    """The engine's own words, or the operating system's, on one line."""
    words = " ".join(str(getattr(error, "explanation", None) or error).split())
    system = _SYSTEM_ERROR.search(words)
    return system[1] if system else words
