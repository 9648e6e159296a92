"""`reset`: throws away what a demo deployment has gathered, component by component, and starts it again.

| component | what goes | with |
|---|---|---|
| kafka | the messages of K2's topics | `k2 reset` |
| iceberg | tables and their files; volumes of consumers: audit logs, dead letter files | `k2 reset`, Docker |
| metrics | the volumes of Prometheus and Alertmanager | Docker |

The plan is made first, and told; what is then removed is the plan and nothing else.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.stacks.containers import deployment
from conformance.stacks.containers.deployment import PROJECT, STATE
from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.host_commands import HostCommandError, run_logged
from conformance.stacks.containers.images import Say
from conformance.stacks.containers.paths import PROJECT_ROOT, shown

KAFKA, ICEBERG, METRICS = "kafka", "iceberg", "metrics"
COMPONENTS = (KAFKA, ICEBERG, METRICS)
_VOLUMES: Mapping[str, tuple[str, ...]] = {
    ICEBERG: ("consumer-trades", "consumer-quotes", "consumer-reference-data"),
    METRICS: ("prometheus", "alertmanager"),
}
"""Service and volume have the same name."""
_WRITERS = ("feed", "api", *_VOLUMES[ICEBERG])
_REFUSED_EXIT_CODE = 78
_CATCH_UP_SECONDS = 90.0
_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing that goes: messages of a topic, a table, or a volume; `amount` in messages or rows."""

    component: str
    kind: str
    name: str
    amount: int = 0


def reset(
    environment: Mapping[str, str],
    say: Say,
    confirm: Callable[[], bool],
    *,
    keep: Collection[str] = (),
    dry_run: bool = False,
    directory: Path = STATE,
    project: str = PROJECT,
) -> list[Item]:
    """Throw a demo's data away; what is to be kept is not touched.

    Args:
        environment: of this process.
        say: told the plan, component by component, and what is done.
        confirm: asked once the plan was told.
        keep: components.
        dry_run: only tell the plan.
        directory: that of `up`.
        project: that of `up`.

    Returns:
        the plan; empty where it was not confirmed.

    Raises:
        ServiceError: the deployment is not marked as a demo, does not run, or a step fails.
    """
    plan = _plan(directory, project, keep)
    _tell(plan, keep, say)
    if dry_run:
        return plan
    if not confirm():
        say("not confirmed: nothing was removed")
        return []
    started = time.monotonic()
    run = _Commands(environment, directory, project)
    run.compose("stop", "feed")
    if ICEBERG in keep and KAFKA not in keep:
        # Messages may only go once the tables that stay have them.
        _k2_reset_when_read(directory, keep)
    if ICEBERG not in keep:
        run.compose("stop", *_WRITERS)
        _k2_reset(directory, keep)
    volumes = [item.name.removeprefix(f"{project}_") for item in plan if item.kind == "volume"]
    if volumes:
        run.compose("rm", "--stop", "--force", *volumes)
        run.docker("volume", "rm", *(f"{project}_{name}" for name in volumes))
    run.compose("up", "--detach")
    deployment.wait_until_healthy(directory, project, say)
    say(f"reset after {time.monotonic() - started:.0f} s: {len(plan)} things removed, and everything runs again")
    return plan


class _Commands:
    """docker-compose and docker, logged to compose.log."""

    def __init__(self, environment: Mapping[str, str], directory: Path, project: str) -> None:
        self._environment = environment
        self._compose = deployment.compose_command(directory, project)
        self._log = directory / "compose.log"

    def compose(self, *arguments: str) -> None:
        self._run((*self._compose, *arguments))

    def docker(self, *arguments: str) -> None:
        self._run(("docker", *arguments))

    def _run(self, command: Sequence[str]) -> None:
        try:
            run_logged(command, self._log, self._environment)
        except HostCommandError as error:
            raise ServiceError(f"the demo is not reset: {error}; see {shown(self._log)}; run it again") from None


def _plan(directory: Path, project: str, keep: Collection[str]) -> list[Item]:
    found = _k2(directory, "reset", "--dry-run", *_keeping(keep))
    if found.returncode != 0:
        raise ServiceError(_refusal(found.stderr))
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    items = [Item(one["component"], one["kind"], one["name"], one["amount"]) for one in lines]
    for component, volumes in _VOLUMES.items():
        if component not in keep:
            items += [Item(component, "volume", f"{project}_{name}") for name in volumes]
    return sorted(items)


def _k2_reset(directory: Path, keep: Collection[str]) -> None:
    done = _k2(directory, "reset", "--force", *_keeping(keep))
    if done.returncode != 0:
        raise ServiceError(_refusal(done.stderr))


def _k2_reset_when_read(directory: Path, keep: Collection[str]) -> None:
    give_up_at = time.monotonic() + _CATCH_UP_SECONDS
    while True:
        done = _k2(directory, "reset", "--force", *_keeping(keep))
        if done.returncode == 0:
            return
        if done.returncode != _REFUSED_EXIT_CODE or time.monotonic() > give_up_at:
            raise ServiceError(_refusal(done.stderr))
        time.sleep(_LOOK_SECONDS)


def _keeping(keep: Collection[str]) -> list[str]:
    return ["--json", *(f"--keep-{name}" for name in (KAFKA, ICEBERG) if name in keep)]


def _k2(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "k2.cli", "--data-dir", str(directory / "k2"), *arguments]
    # What the caller's shell says of a platform is of another one.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("K2_")}
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=plain, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _refusal(stderr: str) -> str:
    lines = [line.removeprefix("k2: ") for line in stderr.splitlines() if line.startswith("k2: ")]
    return lines[-1] if lines else (stderr.strip() or "k2 reset says nothing")


def _tell(plan: Sequence[Item], keep: Collection[str], say: Say) -> None:
    for component in COMPONENTS:
        say(f"{component}{' is kept' if component in keep else ''}")
        chosen = [item for item in plan if item.component == component]
        for item in chosen:
            unit = {"messages": "messages", "table": "rows", "files": "files"}.get(item.kind)
            say(f"  {item.kind:<8} {item.name}{f'  {item.amount} {unit}' if unit else ''}")
        if not chosen and component not in keep:
            say("  nothing")
