"""Schema ids: the packaged ones never move, and a registry that is not there is said to be so."""

import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.request import Request, urlopen

import pytest

from conformance.stacks.schema_registry import SchemaRegistryServer
from k2.errors import RefusedError, SchemaError, UnavailableError
from k2.ingestion.registry import PackagedRegistry, open_registry
from k2.ingestion.remote_registry import RemoteRegistry
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES, TRADE, Field, Kind, RecordType
from k2.records.schemas import avro_schema
from k2.settings import KafkaSettings
from tests.ingestion.registry_server import answering, answering_in_turn

CLOSED_URL = "http://127.0.0.1:9"
TAPE = Field(50, "tape", Kind.STRING, "Tape of the trade.", nullable=True, since=2)
GROWN_TRADE = replace(TRADE, fields=(*TRADE.fields, TAPE))
SUBJECT = "market.crypto.trades-value"


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
        ("equities", "reference_data"): 5,
        ("crypto", "reference_data"): 6,
    }


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
@pytest.mark.parametrize("asset_class", ASSET_CLASSES)
def test_a_packaged_id_leads_back_to_its_schema(asset_class: str, record_type: RecordType) -> None:
    registry = PackagedRegistry()
    assert registry.writer_schema(registry.schema_id(asset_class, record_type)) == avro_schema(record_type)


@pytest.mark.parametrize("schema_id", [0, -1, 7, 101, 2**31 - 1])
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


NOBODY_SET_IT = (404, {"error_code": 40408, "message": "Subject has no compatibility of its own"})
SET_BY_ANOTHER = (409, {"error_code": 0, "message": "A rule named 'COMPATIBILITY' already exists."})


def test_of_two_producers_that_start_at_once_neither_is_refused() -> None:
    answers = (NOBODY_SET_IT, SET_BY_ANOTHER, (200, {"compatibilityLevel": "BACKWARD"}), (200, {"id": 7}))
    with answering_in_turn(*answers) as server:
        assert RemoteRegistry(server.url).schema_id("crypto", TRADE) == 7
    assert server.requests == len(answers)


@pytest.mark.parametrize("found_then", [NOBODY_SET_IT, (200, {"compatibilityLevel": "NONE"})], ids=["unset", "none"])
def test_a_compatibility_that_may_not_be_set_is_refused(found_then: tuple[int, object]) -> None:
    with (
        answering_in_turn(NOBODY_SET_IT, SET_BY_ANOTHER, found_then) as server,
        pytest.raises(RefusedError, match="already exists"),
    ):
        RemoteRegistry(server.url).schema_id("crypto", TRADE)


def test_each_revision_has_an_id_of_its_own_and_earlier_ones_keep_theirs() -> None:
    registry = PackagedRegistry([GROWN_TRADE])
    assert registry.schema_id("crypto", GROWN_TRADE) == 103
    assert registry.schema_id("crypto", TRADE) == 3
    assert registry.writer_schema(103) == avro_schema(GROWN_TRADE)
    assert registry.writer_schema(3) == avro_schema(TRADE)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[SchemaRegistryServer]:
    with SchemaRegistryServer() as server:
        yield server


@pytest.fixture
def server(shared_server: SchemaRegistryServer) -> SchemaRegistryServer:
    """A registry that nobody has registered anything with yet."""
    shared_server.forget()
    return shared_server


def asked(server: SchemaRegistryServer, path: str) -> object:
    with urlopen(f"{server.url}/{path}", timeout=10) as answer:
        return json.load(answer)


def set_compatibility(server: SchemaRegistryServer, level: str) -> None:
    body = json.dumps({"compatibility": level}).encode()
    with urlopen(Request(f"{server.url}/config/{SUBJECT}", body, method="PUT"), timeout=10) as answer:
        assert answer.status == 200


def test_the_six_subjects_are_registered_with_backward_compatibility_of_their_own(
    server: SchemaRegistryServer,
) -> None:
    registry = RemoteRegistry(server.url)
    ids = {
        f"market.{asset_class}.{record_type.data_type}-value": registry.schema_id(asset_class, record_type)
        for asset_class in ASSET_CLASSES
        for record_type in RECORD_TYPES.values()
    }
    assert asked(server, "subjects") == sorted(ids)
    assert len(ids) == 6
    assert [asked(server, f"config/{subject}") for subject in ids] == [{"compatibilityLevel": "BACKWARD"}] * 6
    for subject, schema_id in ids.items():
        assert registry.writer_schema(schema_id) == avro_schema(RECORD_TYPES[subject.split(".")[2][: -len("-value")]])


def test_a_schema_registered_again_keeps_its_id(server: SchemaRegistryServer) -> None:
    first = RemoteRegistry(server.url).schema_id("crypto", TRADE)
    assert RemoteRegistry(server.url).schema_id("crypto", TRADE) == first
    assert asked(server, f"subjects/{SUBJECT}/versions") == [1]


def test_a_later_revision_is_another_version_of_its_subject(server: SchemaRegistryServer) -> None:
    registry = RemoteRegistry(server.url)
    first, second = registry.schema_id("crypto", TRADE), registry.schema_id("crypto", GROWN_TRADE)
    assert asked(server, f"subjects/{SUBJECT}/versions") == [1, 2]
    assert registry.writer_schema(first) == avro_schema(TRADE)
    assert registry.writer_schema(second) == avro_schema(GROWN_TRADE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TRADE, fields=(*TRADE.fields, replace(TAPE, nullable=False))),
        replace(TRADE, fields=tuple(replace(f, kind=Kind.LONG) if f.name == "price" else f for f in TRADE.fields)),
        replace(TRADE, fields=tuple(replace(f, symbols=("BUY",)) if f.name == "side" else f for f in TRADE.fields)),
    ],
    ids=["a new field without a default", "another type", "a symbol less"],
)
def test_a_schema_that_cannot_read_what_was_written_is_refused(
    server: SchemaRegistryServer, changed: RecordType
) -> None:
    registry = RemoteRegistry(server.url)
    registry.schema_id("crypto", TRADE)
    with pytest.raises(RefusedError, match=f"registering the schema of {SUBJECT}") as caught:
        registry.schema_id("crypto", changed)
    assert "\n" not in str(caught.value)
    assert asked(server, f"subjects/{SUBJECT}/versions") == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [("NONE", "BACKWARD"), ("FORWARD", "BACKWARD"), ("FULL_TRANSITIVE", "FULL_TRANSITIVE"), ("FULL", "FULL")],
)
def test_a_subjects_compatibility_is_raised_and_never_lowered(
    server: SchemaRegistryServer, before: str, after: str
) -> None:
    set_compatibility(server, before)
    RemoteRegistry(server.url).schema_id("crypto", TRADE)
    assert asked(server, f"config/{SUBJECT}") == {"compatibilityLevel": after}
