"""Data files of an object store, kept on this machine while queries need them.

A data file never changes once written, so its address is its content: what was fetched once can be read for as long as
it is kept. The folder may be shared by threads and processes, and may be deleted at any time nobody reads from it:

- A file is fetched under another name and gets its own only when it is whole, so no half file is ever read.
- Room is made before a file is fetched, by deleting what was not read for longest, so the folder never outgrows its
  limit. Looking and making room happen under a lock of the folder.
- Whoever reads a file holds a shared lock on it, whoever deletes one must get it exclusively, so a file in use stays.
  The kernel drops a dead process's locks, and what it was fetching is then deleted by the next that needs room.
"""

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from k2.errors import UnavailableError, UsageError

_PIECE_BYTES = 4 * 1024 * 1024
_FETCHERS = 8
_PARTIAL = ".partial"
_LOCK_NAME = "lock"


class ByteSource(Protocol):
    """A file opened for reading."""

    def read(self, size: int = ...) -> bytes:
        """At most so many bytes; none at the end."""

    def close(self) -> None:
        """Release it."""


OpenRemote = Callable[[str], ByteSource]
"""Opens the file of an address; raises OSError where it cannot be opened."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the object store: where it is, and how long."""

    address: str
    size_bytes: int

    @property
    def kept_name(self) -> str:
        """Its name in the cache."""
        digest = hashlib.sha256(f"{self.size_bytes} {self.address}".encode()).hexdigest()
        return f"{digest[:40]}.parquet"


class FileCache:
    """A folder of fetched files with a limit on its size. Safe to share between threads and processes.

    Args:
        folder: made where it is missing, for this user alone.
        limit_bytes: of all files together, those being fetched included.

    Raises:
        UsageError: the folder cannot be made.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._fetching: dict[str, threading.Lock] = {}
        self._fetching_lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the query cache {folder} cannot be made: {error.strerror}") from error

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @contextmanager
    def hold(
        self,
        files: Sequence[RemoteFile],
        open_remote: OpenRemote,
        keep_going: Callable[[], None] = lambda: None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Iterator[tuple[Path, ...]]:
        """These files on this machine, in this order, until the block ends; those that are missing are fetched.

        Args:
            files: what is needed.
            open_remote: opens a file of the object store.
            keep_going: called between pieces of a download; what it raises ends the download.
            guard: around the fetching, and around nothing where nothing is missing.

        Raises:
            UsageError: together they are larger than the cache.
            UnavailableError: there is no room because of files that others read.
            OSError: one cannot be fetched, or the folder cannot be written.
        """
        needed_bytes = sum(file.size_bytes for file in set(files))
        if needed_bytes > self._limit_bytes:
            raise UsageError(
                f"the query reads {needed_bytes:,} bytes of files and the cache takes {self._limit_bytes:,}: "
                "narrow it or raise K2_QUERY__CACHE_LIMIT_BYTES"
            )
        with ExitStack() as held:
            missing = []
            for file in dict.fromkeys(files):
                descriptor = self._locked(file)
                if descriptor is None:
                    missing.append(file)
                else:
                    held.callback(os.close, descriptor)
            if missing:
                with guard():
                    self._fetch_all(missing, held, open_remote, keep_going)
            yield tuple(self._folder / file.kept_name for file in files)

    def _fetch_all(
        self, files: Sequence[RemoteFile], held: ExitStack, open_remote: OpenRemote, keep_going: Callable[[], None]
    ) -> None:
        with ThreadPoolExecutor(_FETCHERS, "fetch") as threads:
            fetched = [threads.submit(self._fetched, file, open_remote, keep_going) for file in files]
        failures = [future.exception() for future in fetched]
        for future, failure in zip(fetched, failures, strict=True):
            if failure is None:
                held.callback(os.close, future.result())
        for failure in failures:
            if failure is not None:
                raise failure

    def _fetched(self, file: RemoteFile, open_remote: OpenRemote, keep_going: Callable[[], None]) -> int:
        # One thread fetches, the others find what it fetched. Other processes may do the same work: harmless.
        with self._one_at_a_time(file.kept_name):
            while (descriptor := self._locked(file)) is None:
                self._fetch(file, open_remote, keep_going)
            return descriptor

    def _locked(self, file: RemoteFile) -> int | None:
        """A descriptor that keeps a whole file from being deleted; None where there is no such file."""
        path = self._folder / file.kept_name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # It may have been deleted between the two calls, and is then nobody's.
            if os.fstat(descriptor).st_nlink and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.utime(path)
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _fetch(self, file: RemoteFile, open_remote: OpenRemote, keep_going: Callable[[], None]) -> None:
        keep_going()
        partial, descriptor = self._reserve(file)
        # Whatever is done to the file's name is done while its descriptor, and with it its lock, is still held.
        with os.fdopen(descriptor, "r+b") as target:
            try:
                with closing(open_remote(file.address)) as source:
                    received = 0
                    while received <= file.size_bytes and (piece := source.read(_PIECE_BYTES)):
                        received += len(piece)
                        target.write(piece)
                        keep_going()
                if received != file.size_bytes:
                    raise OSError(f"{file.address} has not the {file.size_bytes:,} bytes its table says")
                target.flush()
                os.fsync(target.fileno())
                self._name(partial, file)
            finally:
                Path(partial).unlink(missing_ok=True)

    def _name(self, partial: str, file: RemoteFile) -> None:
        """Give a whole file its name, unless another process was first: that one may be in use."""
        path = self._folder / file.kept_name
        with self._folder_locked():
            if not path.exists():
                os.rename(partial, path)

    def _reserve(self, file: RemoteFile) -> tuple[str, int]:
        """Make room and take it, by an empty file of the whole size that is locked while it is being fetched."""
        with self._folder_locked():
            self._make_room(file.size_bytes)
            descriptor, partial = tempfile.mkstemp(_PARTIAL, f"{file.kept_name}.", self._folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.truncate(descriptor, file.size_bytes)
        return partial, descriptor

    def _make_room(self, wanted_bytes: int) -> None:
        """Delete what others left half fetched, then what was not read for longest, until there is room."""
        entries = []
        for entry in os.scandir(self._folder):
            try:
                entries.append((not entry.name.endswith(_PARTIAL), entry.stat().st_mtime_ns, entry))
            except FileNotFoundError:
                continue
        present_bytes = sum(entry.stat().st_size for _, _, entry in entries)
        for whole, _, entry in sorted(entries, key=lambda each: each[:2]):
            if (whole and present_bytes + wanted_bytes <= self._limit_bytes) or entry.name == _LOCK_NAME:
                continue
            if _delete_unless_in_use(entry.path):
                present_bytes -= entry.stat().st_size
        if present_bytes + wanted_bytes > self._limit_bytes:
            raise UnavailableError(
                f"the query cache has no room for {wanted_bytes:,} bytes while other queries read what is in it; "
                "ask again or raise K2_QUERY__CACHE_LIMIT_BYTES"
            )

    @contextmanager
    def _folder_locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _one_at_a_time(self, name: str) -> Iterator[None]:
        with self._fetching_lock:
            lock = self._fetching.setdefault(name, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._fetching_lock:
                self._fetching.pop(name, None)


def _delete_unless_in_use(path: str) -> bool:
    """Delete a file that nobody holds a lock on; whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
