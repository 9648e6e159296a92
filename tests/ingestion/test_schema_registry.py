"""Schema ids: the packaged ones never move, and a registry that is not there is said to be so."""

import json

import pytest

from k2.errors import RefusedError, SchemaError, UnavailableError
from k2.ingestion.registry import PackagedRegistry, open_registry
from k2.ingestion.remote_registry import RemoteRegistry
from k2.records.definition import ASSET_CLASSES, QUOTE, RECORD_TYPES, TRADE, RecordType
from k2.records.schemas import avro_schema
from k2.settings import KafkaSettings
from tests.ingestion.registry_server import answering

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
    with pytest.raises(UnavailableError, match=f"asking the schema registry at {CLOSED_URL} for schema id 1: "):
        RemoteRegistry(CLOSED_URL).writer_schema(1)
    with pytest.raises(UnavailableError, match=f"registering the schema of market.crypto.trades-value at {CLOSED_URL}"):
        RemoteRegistry(CLOSED_URL).schema_id("crypto", TRADE)


def test_a_registry_gives_the_id_it_assigned_and_the_schema_of_an_id() -> None:
    with answering(200, {"id": 7, "schema": json.dumps(avro_schema(TRADE))}) as server:
        assert RemoteRegistry(server.url).schema_id("crypto", TRADE) == 7
        assert RemoteRegistry(server.url).writer_schema(7) == avro_schema(TRADE)


def test_an_id_the_registry_does_not_know_is_the_messages_fault() -> None:
    with (
        answering(404, {"error_code": 40403, "message": "Schema 7 not found"}) as server,
        pytest.raises(SchemaError, match="schema id 7 is unknown to the registry"),
    ):
        RemoteRegistry(server.url).writer_schema(7)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_in_trouble_is_asked_once_and_unavailable(status: int) -> None:
    with (
        answering(status, {"error_code": status * 100 + 1, "message": "busy"}) as server,
        pytest.raises(UnavailableError),
    ):
        RemoteRegistry(server.url).writer_schema(1)
    assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error_code": 401, "message": "Unauthorized"}),
        (403, {"error_code": 40301, "message": "Forbidden"}),
        (404, b"<html>nothing here</html>"),
        (405, b""),
        (422, {"error_code": 42201, "message": "Invalid schema"}),
        (200, b"<html>welcome</html>"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_registry_that_refuses_is_no_message_s_fault(status: int, body: object) -> None:
    with answering(status, body) as server:
        with pytest.raises(RefusedError) as caught:
            RemoteRegistry(server.url).writer_schema(1)
        with pytest.raises(RefusedError):
            RemoteRegistry(server.url).schema_id("crypto", TRADE)
    assert "\n" not in str(caught.value)


def test_an_incompatible_schema_is_refused() -> None:
    with (
        answering(409, {"error_code": 409, "message": "Schema being registered is incompatible"}) as server,
        pytest.raises(RefusedError, match="incompatible with those registered before"),
    ):
        RemoteRegistry(server.url).schema_id("crypto", TRADE)
