"""A Schema Registry on loopback: the part of Confluent's HTTP interface that K2 uses, kept in memory.

Subjects begin with nothing and with no compatibility of their own; a schema is compared with the last one of its
subject by Apache Avro's own checker. The packaged schemas can be looked up under their packaged ids from the start;
NEWER_ID is that of a version of the trades schema with one more field, which nobody knows until `register_newer`: its
producers were deployed before it was registered.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from k2.ingestion.registry import PackagedRegistry
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES, TRADE
from k2.records.schemas import avro_schema

NEWER_ID = 77
_FIRST_ASSIGNED_ID = 1_000
_NONE = "NONE"
_UNKNOWN_SCHEMA = 404, {"error_code": 40403, "message": "Schema not found"}
_UNKNOWN_SUBJECT = 404, {"error_code": 40401, "message": "Subject not found"}
_NO_CONFIGURATION = 404, {"error_code": 40408, "message": "Subject has no compatibility of its own"}
_INCOMPATIBLE = 409, "Schema being registered is incompatible with an earlier schema"
_NOT_FOUND = 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
Answer = tuple[int, Any]


def newer_schema() -> dict[str, Any]:
    """The trades schema with a field that this version does not know, at its end."""
    schema = avro_schema(TRADE)
    return {**schema, "fields": [*schema["fields"], {"name": "tape", "type": ["null", "string"], "default": None}]}


class Subjects:
    """What the registry knows; safe to share between threads."""

    def __init__(self) -> None:
        packaged = PackagedRegistry()
        ids = [packaged.schema_id(asset, kind) for asset in ASSET_CLASSES for kind in RECORD_TYPES.values()]
        self.schemas: dict[int, str] = {number: json.dumps(packaged.writer_schema(number)) for number in ids}
        self._versions: dict[str, list[int]] = {}
        self._compatibility: dict[str, str] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, path: list[str], body: Mapping[str, Any]) -> Answer:
        """Status and JSON of a request."""
        with self._lock:
            match method, *path:
                case "GET", "schemas", "ids", number if number.isdecimal():
                    schema = self.schemas.get(int(number))
                    return _UNKNOWN_SCHEMA if schema is None else (200, {"schema": schema})
                case "GET", "subjects":
                    return 200, sorted(self._versions)
                case "GET", "subjects", subject, "versions":
                    known = self._versions.get(subject)
                    return (200, list(range(1, len(known) + 1))) if known else _UNKNOWN_SUBJECT
                case "POST", "subjects", subject, "versions":
                    return self._register(subject, body["schema"])
                case "GET", "config", subject:
                    level = self._compatibility.get(subject)
                    return (200, {"compatibilityLevel": level}) if level else _NO_CONFIGURATION
                case "PUT", "config", subject:
                    self._compatibility[subject] = body["compatibility"]
                    return 200, {"compatibility": body["compatibility"]}
        return _NOT_FOUND

    def _register(self, subject: str, schema: str) -> Answer:
        versions = self._versions.setdefault(subject, [])
        for number in versions:
            if json.loads(self.schemas[number]) == json.loads(schema):
                return 200, {"id": number}
        # As Apicurio does: without a rule of its own, a subject takes whatever comes.
        if versions and self._compatibility.get(subject, _NONE) != _NONE:
            problems = list(_problems(reader=schema, writer=self.schemas[versions[-1]]))
            if problems:
                status, text = _INCOMPATIBLE
                return status, {"error_code": 409, "message": f'{text} for subject "{subject}": {"; ".join(problems)}'}
        number = max(_FIRST_ASSIGNED_ID, *(known + 1 for known in self.schemas))
        self.schemas[number] = schema
        versions.append(number)
        return 200, {"id": number}


def _problems(reader: str, writer: str) -> Iterator[str]:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    checked = checker.get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    if checked.compatibility is not SchemaCompatibilityType.compatible:
        yield from sorted(checked.messages)


class SchemaRegistryServer:
    """The server; a context manager."""

    def __init__(self) -> None:
        self._listen(0, Subjects())

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment of a process that uses this registry."""
        return {"K2_KAFKA__SCHEMA_REGISTRY_URL": self.url}

    def forget(self) -> None:
        """Begin anew, with nothing registered."""
        self._server.subjects = Subjects()

    def register_newer(self) -> None:
        """From now on NEWER_ID is known."""
        self._server.subjects.schemas[NEWER_ID] = json.dumps(newer_schema())

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have nobody listen at its address for as long as the body runs; what is registered stays."""
        self._close()
        try:
            yield
        finally:
            self._listen(self._server.server_port, self._server.subjects)
            self._thread.start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _listen(self, port: int, subjects: Subjects) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.subjects = subjects
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="registry", daemon=True
        )

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    subjects: Subjects


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(self._body())

    def do_PUT(self) -> None:
        self._answer(self._body())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def _body(self) -> Mapping[str, Any]:
        body: Mapping[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, body: Mapping[str, Any]) -> None:
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        status, answer = self.server.subjects.answer(self.command, path, body)
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
