"""Debian's root file system, made on this host from its packages: what an image is made of where none can be pulled."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.stacks.containers.engine_search import host_facts, may_install
from conformance.stacks.containers.errors import ImageError
from conformance.stacks.containers.host_commands import HostCommandError, run_apt, run_logged
from conformance.stacks.containers.paths import shown

_LEFT_OUT = (
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
    *("var/cache/apt", "var/lib/apt/lists"),
)
# Devices and executables must work there, which mounts of /tmp often forbid.
_WORKSHOP = Path("/var/tmp")  # noqa: S108 - only mkdtemp makes anything there
_DPKG_SETTINGS = "etc/dpkg/dpkg.cfg.d/k2"
_TARGETS = ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages")


@contextlib.contextmanager
def root_file_system(suite: str, log: Path) -> Iterator[Path]:
    """A folder with a minimal root file system of a release, removed at the end.

    Raises:
        ImageError: it cannot be made here, or debootstrap failed.
    """
    host = host_facts()
    if not host.is_root or not (may_install(host) or shutil.which("debootstrap")):
        raise ImageError(
            "no base for the images: none can be pulled, and only root on Debian or Ubuntu can make one; "
            "name an image this engine can have as `official` under [base] in deploy/images.toml"
        )
    try:
        if shutil.which("debootstrap") is None:
            run_apt(("update",), log)
            run_apt(("install", "--yes", "--no-install-recommends", "debootstrap"), log)
        known = mirrors(subprocess.run(_TARGETS, capture_output=True, text=True, check=False).stdout)
        with _workshop() as root:
            _write_without_sync(root)
            mirror = (known["Debian"],) if "Debian" in known else ()
            run_logged(("debootstrap", "--variant=minbase", suite, str(root), *mirror), log, os.environ)
            own_mirror = (root / "etc/apt/sources.list").read_text().split()[1]
            (root / "etc/apt/sources.list").write_text(sources(suite, own_mirror, known))
            _empty_folders(root)
            yield root
    except HostCommandError as error:
        raise ImageError(f"no base for the images: {error}; see {shown(log)}", error.tail) from None


def mirrors(index_targets: str) -> dict[str, str]:
    """Debian's mirrors of this host by label, "Debian" and "Debian-Security", from what apt-get says of its sources."""
    found: dict[str, str] = {}
    for line in index_targets.splitlines():
        origin, label, site = line.split("|")
        if origin == "Debian":
            found.setdefault(label, site)
    return found


def sources(suite: str, own_mirror: str, mirrors: dict[str, str]) -> str:
    """The package sources of the image: its own mirror, and the host's for security updates if it names one."""
    lines = [f"deb {own_mirror} {suite} main", f"deb {own_mirror} {suite}-updates main"]
    if "Debian-Security" in mirrors:
        lines.append(f"deb {mirrors['Debian-Security']} {suite}-security main")
    return "\n".join(lines) + "\n"


def mounts_below(folder: Path, mounts: str) -> list[str]:
    """What is mounted in a folder, deepest first, from the text of /proc/mounts."""
    points = [line.split()[1] for line in mounts.splitlines() if line]
    return sorted((point for point in points if Path(point).is_relative_to(folder)), reverse=True)


def _write_without_sync(root: Path) -> None:
    # What is cut off is thrown away whole, so that no file needs to be forced to the disk.
    (root / _DPKG_SETTINGS).parent.mkdir(parents=True)
    (root / _DPKG_SETTINGS).write_text("force-unsafe-io\n")


def _empty_folders(root: Path) -> None:
    for folder in _LEFT_OUT:
        for path in (root / folder).glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextlib.contextmanager
def _workshop() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="k2-debootstrap-", dir=_WORKSHOP))
    try:
        yield folder
    finally:
        # debootstrap mounts the kernel's file systems in there; torn away half-way it may leave them.
        for mount in mounts_below(folder, Path("/proc/mounts").read_text()):
            subprocess.run(("umount", "--lazy", mount), check=False)
        if not mounts_below(folder, Path("/proc/mounts").read_text()):
            shutil.rmtree(folder)
