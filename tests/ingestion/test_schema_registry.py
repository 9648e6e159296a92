"""Schema ids: the packaged ones never move, and a registry that is not there is said to be so."""

import pytest

from k2.errors import SchemaError, UnavailableError
from k2.ingestion.registry import PackagedRegistry, RemoteRegistry, open_registry
from k2.records.definition import ASSET_CLASSES, QUOTE, RECORD_TYPES, TRADE, RecordType
from k2.records.schemas import avro_schema
from k2.settings import KafkaSettings

CLOSED_URL = "http://127.0.0.1:9"


def test_packaged_ids_are_those_that_lie_in_every_log() -> None:
    registry = PackagedRegistry()
    ids = {
        (asset_class, record_type.data_type): registry.schema_id(asset_class, record_type)
        for asset_class in ASSET_CLASSES
        for record_type in RECORD_TYPES.values()
    }
    assert ids == {
        ("equities", "trades"): 1,
        ("equities", "quotes"): 2,
        ("crypto", "trades"): 3,
        ("crypto", "quotes"): 4,
    }


@pytest.mark.parametrize("record_type", [TRADE, QUOTE], ids=["trades", "quotes"])
@pytest.mark.parametrize("asset_class", ASSET_CLASSES)
def test_a_packaged_id_leads_back_to_its_schema(asset_class: str, record_type: RecordType) -> None:
    registry = PackagedRegistry()
    assert registry.writer_schema(registry.schema_id(asset_class, record_type)) == avro_schema(record_type)


@pytest.mark.parametrize("schema_id", [0, -1, 5, 2**31 - 1])
def test_an_id_that_is_not_packaged_is_unknown(schema_id: int) -> None:
    with pytest.raises(SchemaError, match=f"schema id {schema_id} is not packaged"):
        PackagedRegistry().writer_schema(schema_id)


def test_an_asset_class_that_does_not_exist_has_no_schema() -> None:
    with pytest.raises(SchemaError, match="asset class 'bonds' is not one of equities, crypto"):
        PackagedRegistry().schema_id("bonds", TRADE)


def test_the_settings_choose_the_registry() -> None:
    assert isinstance(open_registry(KafkaSettings()), PackagedRegistry)
    assert isinstance(open_registry(KafkaSettings(schema_registry_url=CLOSED_URL)), RemoteRegistry)


def test_a_registry_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=f"the schema registry at {CLOSED_URL} does not answer"):
        RemoteRegistry(CLOSED_URL).writer_schema(1)
    with pytest.raises(UnavailableError, match=f"the schema registry at {CLOSED_URL} does not answer"):
        RemoteRegistry(CLOSED_URL).schema_id("crypto", TRADE)
