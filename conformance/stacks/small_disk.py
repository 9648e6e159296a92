"""A disk of a few megabytes at a folder of this host, which can be filled without harm to anybody else's."""

import contextlib
import errno
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from conformance.stacks.base import PowerMissingError

_PIECE_BYTES = 64 * 1024
_FILLER = "filler"


class SmallDisk:
    """A file system in memory, mounted at a folder; a context manager.

    Args:
        folder: made if it is not there.
        size_bytes: of the disk.

    Raises (when entered):
        PowerMissingError: this user may not mount.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self._size_bytes},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "k2-small-disk", str(self.folder)]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise PowerMissingError("there is no mount command here to make a small disk with") from None
        if mounted.returncode:
            raise PowerMissingError(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Lazily, for a process may be slow to end.
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)

    def fill(self) -> None:
        """Leave no byte free."""
        size_bytes = _PIECE_BYTES
        with (self.folder / _FILLER).open("ab", buffering=0) as filler:
            while size_bytes:
                try:
                    filler.write(bytes(size_bytes))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size_bytes //= 2

    def free(self) -> None:
        """Give back what was filled."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / _FILLER).unlink()
