"""A small disk that is full takes nothing, and takes something again once it is freed."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.stacks.base import PowerMissingError
from conformance.stacks.small_disk import SmallDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of a megabyte, where this user may mount one."""
    try:
        with SmallDisk(tmp_path / "disk", 1 << 20) as mounted:
            yield mounted
    except PowerMissingError as error:
        pytest.skip(str(error))


def test_a_full_disk_takes_no_byte_until_it_is_freed(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left") as refused:
        (disk.folder / "more").write_bytes(b"a")
    assert refused.value.errno == errno.ENOSPC
    disk.free()
    assert (disk.folder / "more").write_bytes(bytes(512 * 1024)) == 512 * 1024


def test_what_was_mounted_is_gone_at_the_end(tmp_path: Path, disk: SmallDisk) -> None:
    (disk.folder / "kept").write_text("here")
    with SmallDisk(tmp_path / "another", 1 << 20) as another:
        (another.folder / "kept").write_text("there")
    assert not (tmp_path / "another" / "kept").exists()
    assert (disk.folder / "kept").read_text() == "here"
