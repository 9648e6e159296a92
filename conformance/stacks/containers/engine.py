"""Finding an engine, and getting one where there is none and that is allowed.

An engine is looked for where DOCKER_HOST says, or else at the usual sockets. Where none answers, and we are root on
Debian or Ubuntu, the distribution's engine is installed and started, with a line for each step; K2_ENGINE=none forbids
all of it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.stacks.containers import dockerd
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.dockerd import Say
from conformance.stacks.containers.engine_search import (
    CHOICE,
    DEFAULT_SOCKET,
    Remedy,
    endpoints,
    forbidden,
    host_facts,
    remedy,
)
from conformance.stacks.containers.errors import EngineError, EngineRefusedError
from conformance.stacks.containers.paths import ENGINE_STATE
from conformance.stacks.containers.preflight import EngineFacts, Needs, refusals


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    Attributes:
        host: as DOCKER_HOST names it, "unix:///var/run/docker.sock".
        started_here: process id of its daemon if that was started here, and can be stopped here.
    """

    host: str
    facts: EngineFacts
    started_here: int | None


@dataclass(frozen=True, slots=True)
class NoEngine:
    """Why there is none that we can use.

    Attributes:
        reason: one line.
        refused: there is one, and it does not let us; another would not help.
    """

    reason: str
    refused: bool = False


def find_engine(environment: Mapping[str, str] = os.environ) -> Engine | NoEngine:
    """The first engine that answers; changes nothing."""
    if forbidden(environment):
        return NoEngine(f"{CHOICE}=none forbids a container engine")
    reasons = []
    for host in endpoints(environment):
        if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
            continue
        try:
            with EngineClient(host, environment) as client:
                daemon = dockerd.started_daemon(ENGINE_STATE) if host == _default_host() else None
                return Engine(host, client.facts(), daemon.process_id if daemon else None)
        except EngineRefusedError as error:
            return NoEngine(str(error), refused=True)
        except EngineError as error:
            reasons.append(str(error))
    return NoEngine("; ".join(reasons) or "no container engine answers here")


def ensure_engine(needs: Needs, say: Say, environment: Mapping[str, str] = os.environ) -> Engine:
    """An engine that suits: one that answers, or else one that is installed and started here.

    Raises:
        EngineError: there is none and none may be had, or it does not suit.
    """
    found = find_engine(environment)
    if isinstance(found, NoEngine):
        if forbidden(environment):
            raise EngineError(f"{found.reason}: unset it to use one")
        if found.refused:
            raise EngineRefusedError(found.reason)
        _start(remedy(environment, host_facts()), found, say)
        found = find_engine(environment)
    if isinstance(found, NoEngine):
        raise EngineError(found.reason)
    if refused := refusals(found.facts, needs):
        raise EngineError("; ".join(refused))
    return found


def stop_engine() -> bool:
    """Stop the daemon that was started here, and all its containers; False if there is none."""
    return dockerd.stop(ENGINE_STATE)


def _start(remedy: Remedy, missing: NoEngine, say: Say) -> None:
    if remedy is Remedy.NOTHING:
        raise EngineError(
            f"{missing.reason}: start Docker 20.10 or newer, or name its address with DOCKER_HOST "
            "(root on Debian and Ubuntu gets one installed)"
        )
    if remedy is Remedy.INSTALL_AND_START:
        dockerd.install(ENGINE_STATE / "apt.log", say)
    if _answers() or dockerd.start_service(ENGINE_STATE / "systemctl.log"):
        return
    daemon = dockerd.start(ENGINE_STATE, _answers, say)
    say(f"dockerd answers (process {daemon.process_id}); `python -m conformance engine --stop` ends it")


def _answers() -> bool:
    if not DEFAULT_SOCKET.exists():
        return False
    try:
        EngineClient(_default_host(), {}).close()
    except EngineError:
        return False
    return True


def _default_host() -> str:
    return f"unix://{DEFAULT_SOCKET}"
