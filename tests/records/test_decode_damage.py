"""Damaged bodies: each is judged as an independent reader of the specification judges it, whatever stands beside it."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.records.definition import RECORD_TYPES
from k2.records.schemas import avro_schema
from tests.records.broken_bodies import SUBJECTS, assert_judged_rightly, body_of, damaged, damaged_at_random
from tests.records.record_samples import records

HERE = Path(__file__).parent


@pytest.mark.parametrize("subject", SUBJECTS)
@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bodies_are_judged_as_the_specification_says(subject, data):
    record_type, schema, record = SUBJECTS[subject]
    whole = body_of(schema, record)
    assert_judged_rightly(record_type, schema, data.draw(st.lists(damaged(whole), min_size=1, max_size=5)))


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
@settings(max_examples=50)
@given(data=st.data())
def test_damaged_bodies_of_any_records(record_type, data):
    schema = avro_schema(record_type)
    wholes = [body_of(schema, record) for record in data.draw(st.lists(records(record_type), min_size=1, max_size=3))]
    assert_judged_rightly(record_type, schema, [data.draw(damaged(whole)) for whole in wholes])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_thousands_of_damaged_bodies_in_one_batch(subject):
    record_type, schema, record = SUBJECTS[subject]
    chance = random.Random(subject)
    whole = body_of(schema, record)
    assert_judged_rightly(record_type, schema, [damaged_at_random(whole, chance) for _ in range(2_000)])


PROGRAM = """
import random, sys
sys.path[:0] = sys.argv[1:]
from tests.records.broken_bodies import SUBJECTS, assert_judged_rightly, body_of, damaged_at_random
for record_type, schema, record in SUBJECTS.values():
    whole = body_of(schema, record)
    chance = random.Random(1)
    # Batches of one leave nothing beside a body to read into by mistake.
    for size in [1] * 300 + [1_000]:
        assert_judged_rightly(record_type, schema, [damaged_at_random(whole, chance) for _ in range(size)])
"""


def test_no_damage_makes_the_kernel_touch_memory_that_is_not_its_own(tmp_path):
    """The kernel compiled with every index checked, in a process and a cache of its own."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = HERE.parent.parent
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), str(HERE)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
