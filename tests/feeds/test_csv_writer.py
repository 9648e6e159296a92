"""CSV files written from records, the examples of the documentation among them."""

from dataclasses import replace
from pathlib import Path

import pytest

from k2.errors import CaptureError
from k2.feeds.csv_feed import CsvFeed, CsvFormat
from k2.feeds.csv_writer import write_csv
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange
from k2.feeds.synthetic_markets import MARKETS
from k2.records.definition import RECORD_TYPES

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
EXAMPLE = replace(
    MARKETS["asx"], seed=2, symbols=("BHP", "RIO"), records=40, rate_per_second=2, reference_data=True, gap_rate=0.05,
    duplicate_rate=0.0, reorder_rate=0.0, one_sided_rate=0.1,
)  # fmt: skip


def without_place(item: FeedRecord) -> FeedRecord:
    return replace(item, record={**item.record, "session": "", "vendor_data": {}})


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("data_type", RECORD_TYPES)
def test_reading_a_file_gives_the_records_it_was_written_from(tmp_path: Path, data_type: str, compressed: bool) -> None:
    records = [item for item in SyntheticExchange(replace(EXAMPLE, records=2_000)) if item.data_type == data_type]
    path = tmp_path / "file.csv"
    assert write_csv(records, RECORD_TYPES[data_type], path, compressed=compressed) == 1 + len(records)
    feed = CsvFeed(path, lambda bad: pytest.fail(str(bad)), CsvFormat(data_type=data_type))
    assert [without_place(item) for item in feed] == [without_place(item) for item in records]


@pytest.mark.parametrize("data_type", RECORD_TYPES)
def test_the_examples_of_the_documentation_are_those_the_synthetic_exchange_writes(
    tmp_path: Path, data_type: str
) -> None:
    write_csv(SyntheticExchange(EXAMPLE), RECORD_TYPES[data_type], tmp_path / "example.csv")
    assert (EXAMPLES / f"asx_{data_type}.csv").read_bytes() == (tmp_path / "example.csv").read_bytes()


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be written: Is a directory"):
        write_csv([], RECORD_TYPES["trades"], tmp_path)
