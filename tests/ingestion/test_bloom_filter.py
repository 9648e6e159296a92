"""The rolling Bloom filter: never wrong about what it has seen, seldom about what it has not, and it forgets."""

import numpy as np
import pytest

from k2.ingestion.bloom_filter import RollingBloomFilter, UInt64Array

CAPACITY = 4_096


def hashes(count: int, chosen: int) -> UInt64Array:
    return np.random.default_rng(chosen).integers(0, 2**64, count, np.uint64)


@pytest.mark.parametrize("error_rate", [1e-6, 0.01, 0.5, 0.999])
def test_nothing_that_was_added_is_ever_called_new(error_rate: float) -> None:
    kept = RollingBloomFilter(2, CAPACITY, error_rate)
    added = hashes(CAPACITY, 1)
    kept.seen_or_add(added)
    assert kept.seen_or_add(added).all()


@pytest.mark.parametrize("error_rate", [1e-3, 0.01, 0.1])
def test_a_full_part_errs_no_more_often_than_promised(error_rate: float) -> None:
    kept = RollingBloomFilter(1, CAPACITY, error_rate)
    kept.seen_or_add(hashes(CAPACITY, 1))
    words, asked = kept._words.copy(), hashes(100_000, 2)
    wrong = 0
    for part in np.array_split(asked, 100):
        wrong += int(kept.seen_or_add(part).sum())
        kept._words[:] = words
    # Bits are rounded up to a power of two, so that it is mostly far less; within a part of 1,000 some more come in.
    assert wrong < 1.5 * error_rate * len(asked) + 20


def test_what_repeats_within_a_call_is_seen_the_second_time() -> None:
    kept = RollingBloomFilter(1, CAPACITY, 1e-9)
    assert kept.seen_or_add(np.array([7, 8, 7, 7, 8], np.uint64)).tolist() == [False, False, True, True, True]


def test_a_part_is_forgotten_once_all_others_are_newer() -> None:
    kept = RollingBloomFilter(3, CAPACITY, 1e-9)
    first = hashes(10, 1)
    kept.seen_or_add(first)
    for chosen in (2, 3):
        kept.roll()
        kept.seen_or_add(hashes(10, chosen))
    assert kept._words.any(axis=1).all()
    kept.roll()
    assert not kept.seen_or_add(first).any()


def test_its_memory_is_stated_and_does_not_grow() -> None:
    kept = RollingBloomFilter(5, CAPACITY, 1e-6)
    before = kept.memory_bytes
    assert before == 5 * kept.bits_per_part // 8
    for chosen in range(10):
        kept.seen_or_add(hashes(CAPACITY, chosen))
        kept.roll()
    assert kept.memory_bytes == before
