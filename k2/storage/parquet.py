"""Our own Parquet writing: faster than the library's append, and with the column bounds that prune queries.

Encodings were chosen by measurement: zstd level 1, dictionaries only where values repeat, delta packing for integers
that rise.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.metadata import TableMetadata

ROW_GROUP_ROWS = 50_000
_DISTINCT = ("trade_id", "quote_id")
_NANOSECONDS_A_DAY = 86_400 * 10**9
_DELTA_PACKED = (
    "session_sequence",
    "event_time_ns",
    "receive_time_ns",
    "source_sequence",
    "kafka_offset",
    "event_time",
    "receive_time",
)


def split_by_partition(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows of each (day of event time, exchange), in arrival order; the common single partition is not copied."""
    exchange = _encoded(rows.column("exchange"))
    first_ns, last_ns = _range(rows.column("event_time_ns"))
    lowest, highest = _range(exchange.indices)
    if first_ns // _NANOSECONDS_A_DAY == last_ns // _NANOSECONDS_A_DAY and lowest == highest:
        yield rows
        return
    days = rows.column("event_time_ns").to_numpy() // _NANOSECONDS_A_DAY
    codes = days * len(exchange.dictionary) + exchange.indices.to_numpy()
    for code in np.unique(codes):
        yield rows.filter(pa.array(codes == code))


def distinct_texts(column: pa.ChunkedArray) -> list[str]:
    """The different values of a text column, dictionary-encoded or not; the common single one is found at once."""
    encoded = _encoded(column)
    if len(encoded) == 0:
        return []
    lowest, highest = _range(encoded.indices)
    if lowest == highest:
        return [encoded.dictionary[lowest].as_py()]
    distinct: list[str] = pc.unique(encoded).to_pylist()
    return distinct


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    whole = column.combine_chunks()
    return whole if pa.types.is_dictionary(whole.type) else pc.dictionary_encode(whole)


def _range(values: pa.Array | pa.ChunkedArray) -> tuple[int, int]:
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def write_data_file(rows: pa.Table, path: str, file_io: FileIO, metadata: TableMetadata) -> DataFile:
    """Write one Parquet file and describe it for a manifest.

    Args:
        rows: rows of a single partition, columns as in the table (strings may be dictionary-encoded).
        path: where to write, below the table's location.
        file_io: the table's file access.
        metadata: the table's metadata, for schema and partitioning.

    Raises:
        OSError: the store refused the file.
    """
    collected: list[pq.FileMetaData] = []
    # The name is nobody else's, so nobody is asked whether it is taken.
    with file_io.new_output(path).create(overwrite=True) as stream:
        pq.write_table(rows, stream, metadata_collector=collected, **write_options(rows.schema))
        size_bytes = stream.tell()
    schema = metadata.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=collected[0],
        stats_columns=compute_statistics_plan(schema, metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=statistics.partition(metadata.spec(), schema),
        file_size_in_bytes=size_bytes,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """The options of pq.write_table that these columns are written with."""
    delta_packed = [name for name in _DELTA_PACKED if name in schema.names]
    return {
        "compression": "zstd",
        "compression_level": 1,
        "row_group_size": ROW_GROUP_ROWS,
        "use_dictionary": [name for name in _leaf_names(schema) if name not in _DELTA_PACKED],
        "column_encoding": dict.fromkeys(delta_packed, "DELTA_BINARY_PACKED"),
        "store_schema": False,
    }


def _leaf_names(schema: pa.Schema) -> Iterator[str]:
    for field in schema:
        if pa.types.is_map(field.type):
            yield f"{field.name}.key_value.key"
            yield f"{field.name}.key_value.value"
        elif _repeats(field):
            yield field.name


def _repeats(field: pa.Field) -> bool:
    """Whether a column has few distinct values: text other than ids, and small integers."""
    is_text = pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)
    return (is_text or pa.types.is_int32(field.type)) and field.name not in _DISTINCT
