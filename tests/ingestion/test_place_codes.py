"""Topic and partition as one number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.place_codes import place_codes, place_of

NUMBERS = st.integers(0, 2**31 - 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
def test_every_code_stands_for_its_pair_and_no_other(pairs: list[tuple[int, int]]) -> None:
    topics, partitions = (np.array([pair[part] for pair in pairs], np.int32) for part in (0, 1))
    codes = place_codes(topics, partitions).tolist()
    assert [place_of(code) for code in codes] == pairs
    assert len(set(codes)) == len(set(pairs))
