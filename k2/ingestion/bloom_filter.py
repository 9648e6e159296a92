"""A Bloom filter over the last so many hashes: equal parts, of which the oldest is forgotten when a new one begins.

It answers "never seen" for certain and "seen" by chance now and then, so whoever must not err looks again, exactly.
Hashes are 64 bits wide and well mixed already; each probe is taken from their two halves (double hashing).
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]
_BITS_PER_WORD = 64


class RollingBloomFilter:
    """A Bloom filter that forgets. One thread at a time.

    Args:
        parts: how many there are, the one that is being filled included.
        capacity: hashes for which one part is made.
        error_rate: share of the never seen ones that a full part takes for seen, at most.
    """

    def __init__(self, parts: int, capacity: int, error_rate: float) -> None:
        wanted_bits = capacity * -math.log(error_rate) / math.log(2) ** 2
        # A power of two, so that a probe is cut to size by a mask.
        self.bits_per_part = max(_BITS_PER_WORD, 1 << max(0, math.ceil(wanted_bits) - 1).bit_length())
        self._probes = max(1, round(-math.log2(error_rate)))
        self._words: npt.NDArray[np.uint64] = np.zeros((parts, self.bits_per_part // _BITS_PER_WORD), np.uint64)
        self._filled = 0

    @property
    def memory_bytes(self) -> int:
        """Bytes of all parts."""
        return int(self._words.nbytes)

    def seen_or_add(self, hashes: UInt64Array) -> BoolArray:
        """[hashes] whether each may have been seen, before this call or earlier in it; each is taken in."""
        seen: BoolArray = np.zeros(len(hashes), np.bool_)
        _seen_or_add(self._words, self._filled, self._probes, hashes, seen)
        return seen

    def roll(self) -> None:
        """Begin a new part in place of the oldest one."""
        self._filled = (self._filled + 1) % len(self._words)
        self._words[self._filled] = 0


@njit(cache=True, nogil=True)
def _seen_or_add(words: UInt64Array, filled: int, probes: int, hashes: UInt64Array, seen: BoolArray) -> None:
    mask = np.uint64(words.shape[1] * 64 - 1)
    word_shift, bit_mask, half, one = np.uint64(6), np.uint64(63), np.uint64(32), np.uint64(1)
    for row in range(len(hashes)):
        first, step = hashes[row], (hashes[row] >> half) | one
        for part in range(words.shape[0]):
            place = first
            found = True
            for _ in range(probes):
                bit = place & mask
                if not (words[part, bit >> word_shift] >> (bit & bit_mask)) & one:
                    found = False
                    break
                place += step
            if found:
                seen[row] = True
                break
        place = first
        for _ in range(probes):
            bit = place & mask
            words[filled, bit >> word_shift] |= one << (bit & bit_mask)
            place += step
