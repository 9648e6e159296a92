"""State checkpoints: immutable files in the warehouse, each named by what is in it.

    <table>/state/<topic>-<partition>-<next offset>-<unique id>-<SHA-256>.arrow

A snapshot names the checkpoint of each partition, so state and progress cannot disagree. The digest in the name tells a
file that was altered or cut off from the one that was written; the unique id keeps two writers that come to the same
state from owning the same file.

Because the digest is known from the table, a checkpoint may be had from anywhere: what a cache gives is used only if it
is what was written.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import pyarrow as pa
from pyiceberg.io import FileIO

from k2.errors import StateLostError
from k2.storage.progress import PartitionKey

_SUFFIX = ".arrow"
_DIGEST_CHARACTERS = 64
_REMEDY = "`k2 rollback` sets the table back to a snapshot whose state is whole, and the consumer takes the rest again"


def checkpoint_path(location: str, key: PartitionKey, next_offset: int, unique_id: str, body: bytes) -> str:
    """Where the checkpoint of a partition as of an offset belongs."""
    digest = hashlib.sha256(body).hexdigest()
    return f"{location}/state/{key.topic}-{key.partition}-{next_offset}-{unique_id}-{digest}{_SUFFIX}"


def to_bytes(state: pa.Table) -> bytes:
    """A checkpoint's bytes: an Arrow file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, state.schema) as writer:
        writer.write_table(state)
    body: bytes = sink.getvalue().to_pybytes()
    return body


class CheckpointCache(Protocol):
    """A place where checkpoints may be found sooner than in the object store. It never raises."""

    def get(self, digest: str) -> bytes | None:
        """The bytes whose SHA-256 this is, in hexadecimal digits; None where they are not to be had."""

    def put(self, digest: str, body: bytes) -> None:
        """Take the bytes of a checkpoint."""


def read_checkpoint(
    file_io: FileIO,
    path: str,
    cache: CheckpointCache | None = None,
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> pa.Table:
    """The state in a checkpoint.

    Args:
        file_io: where the warehouse is.
        path: the checkpoint's.
        cache: asked first, where the name says what to expect; gets what the warehouse had to be asked for.
        guard: around asking the warehouse, and around nothing where the cache has it.

    Raises:
        StateLostError: the file is gone, or is not what was written under this name.
        OSError: the store does not answer.
    """
    digest = path_digest(path)
    body = None if cache is None or digest is None else cache.get(digest)
    if body is None:
        with guard():
            body = _stored(file_io, path, digest)
        if cache is not None and digest is not None:
            cache.put(digest, body)
    return _parsed(body, path)


def path_digest(path: str) -> str | None:
    """SHA-256 of a checkpoint's bytes as its name says; None for those of the first versions, whose names do not."""
    digest = path.removesuffix(_SUFFIX)[-_DIGEST_CHARACTERS:]
    return None if "-" in digest else digest


def _stored(file_io: FileIO, path: str, digest: str | None) -> bytes:
    try:
        with file_io.new_input(path).open() as stream:
            body: bytes = stream.read()
    except FileNotFoundError as error:
        raise StateLostError(f"state checkpoint {_name(path)} is gone: {_REMEDY}") from error
    if digest is not None and hashlib.sha256(body).hexdigest() != digest:
        raise StateLostError(f"state checkpoint {_name(path)} was altered after it was written: {_REMEDY}")
    return body


def _parsed(body: bytes, path: str) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.py_buffer(body)).read_all()
    except pa.ArrowInvalid as error:
        raise StateLostError(f"state checkpoint {_name(path)} cannot be read ({error}): {_REMEDY}") from error


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
