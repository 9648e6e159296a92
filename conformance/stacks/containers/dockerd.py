"""Installing an engine, starting its daemon and stopping it again; only ever the one that was started here."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from conformance.stacks.containers.errors import EngineError
from conformance.stacks.containers.host_commands import HostCommandError, last_lines, run_apt, run_logged
from conformance.stacks.containers.paths import shown

PACKAGE = "docker.io"
_READY_SECONDS = 60.0
_STOP_SECONDS = 90.0
_POLL_SECONDS = 0.1
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StartedDaemon:
    """A daemon that was started here.

    Attributes:
        process_id: with `created_at`, names the process for as long as the machine runs.
        created_at: seconds since the epoch, by the kernel.
    """

    process_id: int
    created_at: float

    def process(self) -> psutil.Process | None:
        """The process, None if it has ended."""
        try:
            process = psutil.Process(self.process_id)
        except psutil.NoSuchProcess:
            return None
        return process if process.create_time() == self.created_at and _runs(process) else None


def install(log: Path, say: Say) -> None:
    """Install the distribution's engine.

    Raises:
        EngineError: apt-get failed.
    """
    say(f"no engine here: installing {PACKAGE} with apt-get, log in {shown(log)} ...")
    started = time.monotonic()
    try:
        run_apt(("update",), log)
        run_apt(("install", "--yes", "--no-install-recommends", PACKAGE, "iptables"), log)
    except HostCommandError as error:
        raise EngineError(
            f"{PACKAGE} could not be installed: {_last_line(error.tail)}; see {shown(log)}, "
            "or install an engine yourself and run this again"
        ) from None
    say(f"{PACKAGE} installed in {time.monotonic() - started:.0f} s")


def start_service(log: Path) -> bool:
    """Have systemd start the engine, where systemd runs; False where it does not."""
    if not Path("/run/systemd/system").is_dir():
        return False
    with contextlib.suppress(HostCommandError):
        run_logged(("systemctl", "start", "docker"), log, os.environ)
        return True
    return False


def start(directory: Path, is_ready: Callable[[], bool], say: Say) -> StartedDaemon:
    """Start the daemon in a session of its own; it goes on when the caller ends.

    Args:
        directory: where its log and the note of who started it go.
        is_ready: whether it answers by now.
        say: told what is done.

    Raises:
        EngineError: it ended, or did not answer in time.
    """
    log = directory / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"starting dockerd, log in {shown(log)} ...")
    process_id = _spawn(("dockerd", "--mtu", str(smallest_mtu())), log)
    daemon = StartedDaemon(process_id, psutil.Process(process_id).create_time())
    _note(directory).write_text(json.dumps({"process_id": daemon.process_id, "created_at": daemon.created_at}))
    try:
        _wait_until_ready(daemon, is_ready, log)
    except BaseException:
        stop(directory)
        raise
    return daemon


def started_daemon(directory: Path) -> StartedDaemon | None:
    """The daemon that was started here and still runs."""
    try:
        daemon = StartedDaemon(**json.loads(_note(directory).read_text()))
    except FileNotFoundError:
        return None
    return daemon if daemon.process() is not None else None


def stop(directory: Path) -> bool:
    """Stop the daemon that was started here, and with it all its containers; False if there is none.

    Raises:
        EngineError: it does not end.
    """
    daemon = started_daemon(directory)
    process = daemon.process() if daemon is not None else None
    if process is None:
        _note(directory).unlink(missing_ok=True)
        return False
    # Its containerd and what else it started end with it; all of them are waited for.
    family = [process, *process.children(recursive=True)]
    process.terminate()
    give_up_at = time.monotonic() + _STOP_SECONDS
    while any(_runs(member) for member in family):
        if time.monotonic() > give_up_at:
            raise EngineError(f"dockerd (process {process.pid}) does not end: see {shown(directory / 'dockerd.log')}")
        time.sleep(_POLL_SECONDS)
    _note(directory).unlink(missing_ok=True)
    return True


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of ours the daemon needs: it outlives us, so it inherits neither marks nor secrets."""
    kept = (*_KEPT_VARIABLES, *_PROXY_VARIABLES, *(name.upper() for name in _PROXY_VARIABLES))
    return {name: environment[name] for name in kept if name in environment}


def smallest_mtu(interfaces: Path = Path("/sys/class/net")) -> int:
    """MTU for the containers' networks: that of the narrowest interface, or large packets out of them get lost."""
    found = [1500]
    for interface in interfaces.glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if (interface / "operstate").read_text().strip() == "up":
                found.append(int((interface / "mtu").read_text()))
    return min(found)


def _spawn(command: tuple[str, ...], log: Path) -> int:
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    return os.posix_spawnp(
        command[0],
        command,
        daemon_environment(os.environ),
        file_actions=[nothing, output, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )


def _runs(process: psutil.Process) -> bool:
    # Whoever started it may not have collected its exit status yet.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_until_ready(daemon: StartedDaemon, is_ready: Callable[[], bool], log: Path) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while not is_ready():
        if daemon.process() is None:
            raise EngineError(f"dockerd ended at once: {_last_line(last_lines(log))}; see {shown(log)}")
        if time.monotonic() > give_up_at:
            raise EngineError(f"dockerd does not answer after {_READY_SECONDS:.0f} s: see {shown(log)}")
        time.sleep(_POLL_SECONDS)


def _note(directory: Path) -> Path:
    return directory / "started.json"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
