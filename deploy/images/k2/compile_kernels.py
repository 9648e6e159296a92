"""Runs K2's compiled loops once while the image is built, so that no container has to wait for the compiler."""

import pyarrow as pa

from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.records import decode

decode.warm_up()
name = pa.array(["K2"]).dictionary_encode()
tracker = SequenceBatchTracker()
tracker.check([name, name], pa.array([1], pa.int64()))
tracker.to_arrow()
