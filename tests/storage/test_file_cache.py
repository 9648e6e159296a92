"""The cache of data files: whole files only, never more than its limit, nothing deleted under a reader."""

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2.errors import UnavailableError, UsageError
from k2.storage.file_cache import FileCache, RemoteFile

KIB = 1024


class Store:
    """A folder as an object store, read through PyIceberg's file access; counts what is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[str] = []
        self._file_io = PyArrowFileIO()
        folder.mkdir()

    def put(self, name: str, size_bytes: int, fill: bytes = b"x") -> RemoteFile:
        path = self.folder / name
        path.write_bytes(fill * size_bytes)
        return RemoteFile(f"file://{path}", size_bytes)

    def open(self, address: str) -> BytesIO:
        self.opened.append(address.rsplit("/", 1)[1])
        return self._file_io.new_input(address).open()  # type: ignore[return-value]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 10 * KIB)


def kept(cache: FileCache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir() if path.name != "lock")


def size_of(cache: FileCache) -> int:
    total = 0
    for entry in os.scandir(cache.folder):
        with suppress(FileNotFoundError):
            total += entry.stat().st_size
    return total


def test_a_file_is_fetched_once_and_read_as_it_is(store: Store, cache: FileCache) -> None:
    files = [store.put("a", 5, b"a"), store.put("b", 7, b"b")]
    for _ in range(2):
        with cache.hold([*files, files[0]], store.open) as paths:
            assert [path.read_bytes() for path in paths] == [b"aaaaa", b"bbbbbbb", b"aaaaa"]
    assert sorted(store.opened) == ["a", "b"]
    assert kept(cache) == sorted(file.kept_name for file in files)


def test_what_was_not_read_for_longest_goes_first(store: Store, cache: FileCache) -> None:
    old, middle, new = (store.put(name, 4 * KIB) for name in "abc")
    for age, file in ((30, old), (20, middle)):
        with cache.hold([file], store.open) as (path,):
            pass
        os.utime(path, (time.time() - age,) * 2)
    with cache.hold([old], store.open), cache.hold([new], store.open):
        pass
    assert kept(cache) == sorted([old.kept_name, new.kept_name])
    assert store.opened == ["a", "b", "c"]
    assert size_of(cache) <= 10 * KIB


def test_a_file_in_use_is_never_deleted(store: Store, cache: FileCache, tmp_path: Path) -> None:
    used, other = store.put("used", 6 * KIB), store.put("other", 6 * KIB)
    with cache.hold([used], store.open) as (path,):
        # Another process has its own view of the same folder.
        elsewhere = FileCache(cache.folder, 10 * KIB)
        with pytest.raises(UnavailableError, match="no room for 6,144 bytes"), elsewhere.hold([other], store.open):
            pass
        assert path.stat().st_size == 6 * KIB
    with elsewhere.hold([other], store.open):
        assert kept(cache) == [other.kept_name]


def test_more_than_the_cache_takes_is_refused_before_anything_is_fetched(store: Store, cache: FileCache) -> None:
    files = [store.put(name, 6 * KIB) for name in "ab"]
    with (
        pytest.raises(UsageError, match=r"reads 12,288 bytes of files and the cache takes 10,240: narrow it"),
        cache.hold(files, store.open),
    ):
        pass
    assert store.opened == []


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_size_than_the_table_says_is_not_kept(
    store: Store, cache: FileCache, difference: int
) -> None:
    file = store.put("a", 100)
    wrong = RemoteFile(file.address, 100 + difference)
    with pytest.raises(OSError, match="has not the"), cache.hold([wrong], store.open):
        pass
    assert kept(cache) == []


def test_a_failure_leaves_nothing_and_the_next_fetches_it(store: Store, cache: FileCache) -> None:
    file, missing = store.put("a", 100), RemoteFile(f"file://{store.folder}/missing", 5)
    with pytest.raises(FileNotFoundError), cache.hold([file, missing], store.open):
        pass
    assert kept(cache) == [file.kept_name]
    with cache.hold([file], store.open) as (path,):
        assert path.stat().st_size == 100


def test_whoever_gives_up_leaves_no_part_behind(store: Store, cache: FileCache) -> None:
    file = store.put("a", 100)

    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError), cache.hold([file], store.open, stop):
        pass
    assert kept(cache) == []


def test_threads_that_want_the_same_file_fetch_it_once(store: Store, cache: FileCache) -> None:
    file = store.put("a", 5 * KIB)
    waiting = threading.Barrier(8)

    def read(_: int) -> int:
        waiting.wait(10)
        with cache.hold([file], store.open) as (path,):
            return len(path.read_bytes())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(8))) == [5 * KIB] * 8
    assert store.opened == ["a"]


def fetch_and_die(folder: Path, file: RemoteFile, started: Callable[[], None]) -> None:
    """Fetch a file that never ends, in a process that is then killed."""

    class Endless(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            started()
            time.sleep(60)
            return b""

    with FileCache(folder, 10 * KIB).hold([file], lambda _: Endless()):
        pass


def test_a_killed_process_leaves_no_half_file_and_its_room_is_taken(store: Store, cache: FileCache) -> None:
    file = store.put("a", 8 * KIB)
    spawned = multiprocessing.get_context("fork")
    started = spawned.Event()
    process = spawned.Process(target=fetch_and_die, args=(cache.folder, file, started.set))
    process.start()
    assert started.wait(20)
    (partial,) = kept(cache)
    assert partial.endswith(".partial")
    other = store.put("b", 8 * KIB)
    with pytest.raises(UnavailableError, match="no room"), cache.hold([other], store.open):
        pass
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with cache.hold([other], store.open) as (path,):
        assert path.read_bytes() == b"x" * 8 * KIB
    assert kept(cache) == [other.kept_name]


def test_a_folder_deleted_between_queries_is_filled_again(store: Store, cache: FileCache) -> None:
    file = store.put("a", 100)
    for _ in range(2):
        with cache.hold([file], store.open) as (path,):
            assert path.read_bytes() == b"x" * 100
        path.unlink()
    assert store.opened == ["a", "a"]


def test_a_reader_that_comes_while_a_file_is_deleted_gets_it_anew(store: Store, cache: FileCache) -> None:
    file = store.put("a", 100)
    with cache.hold([file], store.open) as (path,):
        pass
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as threads:

        def read() -> bytes:
            with cache.hold([file], store.open) as (kept_path,):
                return kept_path.read_bytes()

        reading = threads.submit(read)
        time.sleep(0.05)
        path.unlink()
        os.close(descriptor)
        assert reading.result(20) == b"x" * 100
    assert store.opened == ["a", "a"]


def test_the_limit_holds_while_many_fetch_and_read(store: Store, cache: FileCache) -> None:
    files = [store.put(f"f{number}", KIB * (1 + number % 3), bytes([number])) for number in range(20)]
    sizes: list[int] = []

    def read(number: int) -> bool:
        file = files[number * 7 % len(files)]
        with cache.hold([file], store.open) as (path,):
            sizes.append(size_of(cache))
            return path.read_bytes() == bytes([number * 7 % len(files)]) * file.size_bytes

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(read, range(100)))
    assert max(sizes) <= 10 * KIB


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"the query cache .*taken cannot be made"):
        FileCache(tmp_path / "taken", 1)
