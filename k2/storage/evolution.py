"""A table grows with its definition: columns that are missing are added under the definition's own field ids.

Files written before have no such column, so it is null in their rows; files of a consumer that does not know it yet are
read in the same way. Everything else would change what rows already hold, and is refused.
"""

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertTableUUID,
    SetCurrentSchemaUpdate,
)
from pyiceberg.types import NestedField

from k2.errors import RefusedError

_REMEDY = "install the version of K2 that the table is of, or take the rows over into a new table"


def add_missing_columns(table: Table, wanted: Schema) -> tuple[str, ...]:
    """Bring a table's columns up to a schema and return the names of those that were added.

    Args:
        table: as of now.
        wanted: the columns there must be, with the ids they must have; the table may have more, if they may be null.

    Raises:
        RefusedError: rows of the table and rows of the schema cannot lie in one table; nothing was changed.
        CommitFailedException: somebody else changed the table meanwhile.
    """
    metadata = table.metadata
    missing = _missing(metadata, wanted, ".".join(table.name()))
    if missing:
        schema = Schema(
            *metadata.schema().fields,
            *missing,
            schema_id=max(schema.schema_id for schema in metadata.schemas) + 1,
            identifier_field_ids=metadata.schema().identifier_field_ids,
        )
        table.catalog.commit_table(
            table,
            requirements=(
                AssertTableUUID(uuid=metadata.table_uuid),
                AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
            ),
            updates=(AddSchemaUpdate(schema=schema), SetCurrentSchemaUpdate()),
        )
    return tuple(field.name for field in missing)


def _missing(metadata: TableMetadata, wanted: Schema, table: str) -> list[NestedField]:
    wanted_ids = {field.field_id for field in wanted.fields}
    current = {field.field_id: field for field in metadata.schema().fields}
    ids_by_name = {field.name: field.field_id for field in metadata.schema().fields}
    for field in current.values():
        if field.required and field.field_id not in wanted_ids:
            raise _refusal(table, field, "this version does not know it, and no row can do without it")
    for field in wanted.fields:
        # An id that any earlier schema had is in files, whether the column is still there or not.
        for schema in metadata.schemas:
            if field.field_id in schema.field_ids and _shape(schema.find_field(field.field_id)) != _shape(field):
                there = _described(schema.find_field(field.field_id))
                raise _refusal(table, field, f"the table has {there} under its id {field.field_id}")
        if ids_by_name.get(field.name, field.field_id) != field.field_id:
            raise _refusal(table, field, f"the table has its name under the id {ids_by_name[field.name]}")
        if field.field_id not in current and field.required:
            raise _refusal(table, field, "rows already there do not have it, so it must be nullable")
    return [field for field in wanted.fields if field.field_id not in current]


def _shape(field: NestedField) -> tuple[object, ...]:
    return field.name, field.field_type, field.required


def _described(field: NestedField) -> str:
    return f"{field.name} {field.field_type}{'' if field.required else ', nullable'}"


def _refusal(table: str, field: NestedField, reason: str) -> RefusedError:
    return RefusedError(f"column {_described(field)} does not fit the table {table}: {reason}; {_REMEDY}")
