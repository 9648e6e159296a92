"""The content of a file, however it is packed: plain, gzip, or a zip archive of one file. Told by its first bytes.

Everything that can be unpacked is handed out before an error is raised. A zip is read from its front, as it is written:
its table of contents stands at its end, which a file that was cut off has lost.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_READ_BYTES = 32 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_TRAILER_BYTES = 8
_GZIP_WINDOW_BITS = 31
_RAW_WINDOW_BITS = -15

_ZIP_MAGIC = b"PK\x03\x04"
_ZIP_EMPTY = b"PK\x05\x06"
_ZIP_CONTENTS = b"PK\x01\x02"
_ZIP_HEADER = struct.Struct("<4s5H3I2H")
_ZIP_DESCRIPTOR = b"PK\x07\x08"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW = 1, 8
# A checksum and two sizes of up to eight bytes may stand between the content and what follows it.
_DESCRIPTOR_ROOM = 64


class UnreadableError(Exception):
    """The content stops making sense, or cannot be unpacked; the message says how, to follow "line n"."""


@dataclass(frozen=True, slots=True)
class _ZipHeader:
    name: str
    flags: int
    method: int
    checksum: int
    packed_bytes: int


def unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The content in pieces, from the beginning of the file.

    Raises:
        UnreadableError: after all that can be unpacked.
    """
    magic = _magic(file)
    if magic.startswith(_GZIP_MAGIC):
        return _inflate(file)
    return _unzip(file) if magic in (_ZIP_MAGIC, _ZIP_EMPTY) else _read(file)


def checksum(file: BinaryIO) -> bytes:
    """CRC-32 and length of the content, eight bytes: the same however it is packed.

    Gzip keeps them in its trailer and zip in its table of contents, so a large file is not read twice. Where that does
    not speak of the content (several gzip members, a damaged file) the answer still differs from that of other files.
    """
    magic = _magic(file)
    if magic.startswith(_GZIP_MAGIC):
        size = file.seek(0, 2)
        file.seek(max(0, size - _GZIP_TRAILER_BYTES))
        return file.read()
    if magic == _ZIP_MAGIC:
        try:
            with zipfile.ZipFile(file) as archive:
                entry = archive.infolist()[0]
                return struct.pack("<II", entry.CRC, entry.file_size % 2**32)
        except (zipfile.BadZipFile, IndexError):
            file.seek(0)
    return _plain_checksum(file)


def archived_name(file: BinaryIO) -> str | None:
    """The name of the first file in a zip archive; None for what is no zip."""
    if _magic(file) != _ZIP_MAGIC:
        return None
    try:
        return _zip_header(file).name
    except UnreadableError:
        return None


def _magic(file: BinaryIO) -> bytes:
    file.seek(0)
    magic = file.read(len(_ZIP_MAGIC))
    file.seek(0)
    return magic


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_READ_BYTES):
        yield piece


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
    for piece in _read(file):
        compressed = piece
        while compressed:
            if decompressor.eof:
                # Zeros after the end are padding, as gzip itself reads them; anything else must be another member.
                compressed = compressed.lstrip(b"\0")
                if not compressed:
                    break
                decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
            before = decompressor.copy()
            try:
                data = decompressor.decompress(compressed)
            except zlib.error:
                yield from _inflate_up_to_damage(before, compressed, "gzip")
                return
            yield data
            compressed = decompressor.unused_data
    if not decompressor.eof:
        raise UnreadableError("is damaged: the gzip data ends too early")


def _inflate_up_to_damage(decompressor: "zlib._Decompress", compressed: bytes, packing: str) -> Iterator[bytes]:
    # zlib keeps nothing of a call that fails, so the piece is fed again byte by byte up to the bad one.
    for position in range(len(compressed)):
        try:
            yield decompressor.decompress(compressed[position : position + 1])
        except zlib.error as error:
            raise UnreadableError(f"is damaged: the {packing} data is corrupt ({error})") from error


def _unzip(file: BinaryIO) -> Iterator[bytes]:
    header = _zip_header(file)
    computed = 0
    pieces = _stored(file, header.packed_bytes) if header.method == _STORED else _deflated(file)
    rest = b""
    for data, behind in pieces:
        computed = zlib.crc32(data, computed)
        rest = behind
        if data:
            yield data
    rest += file.read(_DESCRIPTOR_ROOM)
    if _ZIP_MAGIC in rest[:_DESCRIPTOR_ROOM]:
        raise UnreadableError("is where the first file of the zip ends, and there are more: pack each on its own")
    if _ZIP_CONTENTS not in rest[:_DESCRIPTOR_ROOM]:
        raise UnreadableError("is damaged: the zip ends too early")
    promised = header.checksum
    if header.flags & _SIZES_FOLLOW:
        start = len(_ZIP_DESCRIPTOR) if rest.startswith(_ZIP_DESCRIPTOR) else 0
        promised = int.from_bytes(rest[start : start + 4], "little")
    if computed != promised:
        raise UnreadableError("is damaged: the zip's checksum is not that of its content")


def _zip_header(file: BinaryIO) -> _ZipHeader:
    head = file.read(_ZIP_HEADER.size)
    if head.startswith(_ZIP_EMPTY):
        raise UnreadableError("cannot be read: the zip holds no file")
    if len(head) < _ZIP_HEADER.size:
        raise UnreadableError("is damaged: the zip ends too early")
    _, _, flags, method, _, _, crc, packed_bytes, _, name_bytes, extra_bytes = _ZIP_HEADER.unpack(head)
    name = file.read(name_bytes)
    if len(name) + len(file.read(extra_bytes)) < name_bytes + extra_bytes:
        raise UnreadableError("is damaged: the zip ends too early")
    if flags & _ENCRYPTED:
        raise UnreadableError("cannot be read: the zip is encrypted")
    if method not in (_STORED, _DEFLATED) or (method == _STORED and flags & _SIZES_FOLLOW):
        raise UnreadableError(f"cannot be read: the zip is packed by method {method}, only deflate is known")
    return _ZipHeader(name.decode(errors="replace"), flags, method, crc, packed_bytes)


def _deflated(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Pieces of content, each with the bytes that were read beyond its end."""
    decompressor = zlib.decompressobj(_RAW_WINDOW_BITS)
    for piece in _read(file):
        before = decompressor.copy()
        try:
            data = decompressor.decompress(piece)
        except zlib.error:
            yield from ((data, b"") for data in _inflate_up_to_damage(before, piece, "zip"))
            return
        yield data, decompressor.unused_data
        if decompressor.eof:
            return
    raise UnreadableError("is damaged: the zip ends too early")


def _stored(file: BinaryIO, remaining: int) -> Iterator[tuple[bytes, bytes]]:
    while remaining:
        piece = file.read(min(_READ_BYTES, remaining))
        if not piece:
            raise UnreadableError("is damaged: the zip ends too early")
        remaining -= len(piece)
        yield piece, b""


def _plain_checksum(file: BinaryIO) -> bytes:
    computed = size = 0
    for piece in _read(file):
        computed = zlib.crc32(piece, computed)
        size += len(piece)
    return struct.pack("<II", computed, size % 2**32)
