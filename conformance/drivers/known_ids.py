"""Runs many windows of ids through the state of a partition and measures what it keeps."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from conformance.drivers.identified_quotes import IdentifiedQuotes
from k2.ingestion.identifier_window import IdentifierWindow
from k2.ingestion.record_identity import RecordIdentities
from k2.ingestion.registry import PackagedRegistry
from k2.records.decode import BatchDecoder
from k2.records.definition import QUOTE
from k2.records.encode import RecordEncoder
from k2.settings import DeduplicationSettings

KEPT_BYTES_PER_ID, WRITTEN_BYTES_PER_ID = 100, 30
"""What docs/sequences.md states, for each id of the window's size."""
_STEP_IDS = 4_000


@dataclass(frozen=True, slots=True)
class KeptIds:
    """What was seen.

    Attributes:
        window_ids: size of the window.
        most_ids: most ids that were known at once.
        most_bytes: most that was allocated for them, by Arrow's own count and the window's, whichever is larger.
        most_checkpoint_bytes: the largest checkpoint.
        unknown_of_the_last_window: of the last `window_ids` ids, how many were not recognised in the end.
    """

    window_ids: int
    most_ids: int
    most_bytes: int
    most_checkpoint_bytes: int
    unknown_of_the_last_window: int


def run_through_windows(windows: int) -> KeptIds:
    """Feed so many windows of different ids, in batches as a consumer has them, and look after each."""
    settings = DeduplicationSettings()
    read, template = RecordIdentities(QUOTE), _template()
    window = IdentifierWindow(settings)
    most_ids = most_bytes = most_checkpoint = 0
    before = pa.total_allocated_bytes()
    total = windows * settings.window_ids
    for first in range(0, total, _STEP_IDS):
        window.recognise(_identities(read, template, first, min(total, first + _STEP_IDS)))
        written = window.to_arrow()
        most_checkpoint = max(most_checkpoint, written.nbytes)
        del written
        most_ids = max(most_ids, window.ids)
        most_bytes = max(most_bytes, window.memory_bytes, pa.total_allocated_bytes() - before)
    last = _identities(read, template, total - settings.window_ids, total)
    unknown = int(np.count_nonzero(~window.recognise(last)))
    return KeptIds(settings.window_ids, most_ids, most_bytes, most_checkpoint, unknown)


def _template() -> pa.RecordBatch:
    """One decoded quote."""
    (item,) = IdentifiedQuotes(1).delivered("memory")
    registry = PackagedRegistry()
    body = RecordEncoder(QUOTE, registry.schema_id("crypto", QUOTE)).encode(item.record)
    return BatchDecoder(QUOTE, registry.writer_schema).decode([body]).columns


def _identities(read: RecordIdentities, template: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
    rows = template.take(pa.array(np.zeros(last - first, np.int64)))
    numbers = np.arange(first, last)
    # A time of its own gives each record a content of its own, which is what does not compress.
    for name, values in (
        ("quote_id", pa.array([str(40_000_000_000 + 7 * number) for number in numbers.tolist()])),
        ("event_time_ns", pa.array(rows.column("event_time_ns").to_numpy() + numbers)),
    ):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    chosen = read.identified(rows)
    assert chosen is not None
    return read.of(rows, chosen)
