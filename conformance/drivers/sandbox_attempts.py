"""Attempts to leave the sandbox through SQL, as data, and the driver that makes them and records what came of each.

An attempt that is refused, or answered without a row, did not get out. The places it names are real: a file with a
secret beside the warehouse, links to it inside, a file of the warehouse that belongs to no table.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conformance.history import HistoryWriter

SECRET = "the secret beside the warehouse"
CONTROL = "SELECT count(*) AS n FROM trades"
CONFIGURATION = (
    "SELECT md5(string_agg(name || '=' || coalesce(value, ''), ',' ORDER BY name)) AS n FROM duckdb_settings()"
)

READS = (
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}', header = false)",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_json('{secret_json}')",
    "SELECT * FROM read_ndjson_objects('{secret_json}')",
    "SELECT * FROM read_parquet('{secret_parquet}')",
    "SELECT * FROM parquet_scan(['{secret_parquet}'])",
    "SELECT * FROM parquet_metadata('{secret_parquet}')",
    "SELECT * FROM parquet_kv_metadata('{secret_parquet}')",
    "SELECT * FROM parquet_schema('{secret_parquet}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM glob('{outside}/**')",
    "SELECT * FROM '{secret_parquet}'",
    "SELECT * FROM 'file://{secret_parquet}'",
    "SELECT * FROM read_text('file://{secret}')",
    "SELECT * FROM read_text('{warehouse}/../{outside_name}/secret.txt')",
    "SELECT * FROM read_text('{warehouse}/./../{outside_name}/secret.txt')",
    "SELECT * FROM read_text('{warehouse}/%2e%2e/{outside_name}/secret.txt')",
    "SELECT * FROM read_text('{warehouse}/link_to_secret')",
    "SELECT * FROM read_text('{warehouse}/link_to_outside/secret.txt')",
    "SELECT * FROM read_text('{warehouse}/link_to_outside/*.txt')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_csv('/proc/self/status', delim = '|', header = false)",
    "SELECT * FROM read_text('/proc/self/cwd/README.md')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT * FROM read_text('/proc/self/fd/0')",
    "SELECT * FROM read_text('~/.bashrc')",
    "SELECT * FROM read_parquet('{stray}')",
    "SELECT * FROM read_blob('{stray}')",
    "SELECT * FROM glob('{warehouse}/**')",
    "SELECT * FROM query('SELECT * FROM read_text(\"{secret}\")')",
    "SELECT * FROM query_table(['{secret_parquet}'])",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql($$SELECT * FROM read_text('{secret}')$$))",
    "SELECT (SELECT content FROM read_text('{secret}')) AS stolen FROM trades LIMIT 1",
    "WITH stolen AS (SELECT * FROM read_text('{secret}')) SELECT * FROM stolen UNION ALL SELECT * FROM stolen",
    "SELECT getenv('PATH')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM read_duckdb('{outside}/other.db')",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM secret_table",
)
NETWORK = (
    "SELECT * FROM read_text('http://127.0.0.1:1/x')",
    "SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM read_csv('hf://datasets/a/b.csv')",
    "SELECT * FROM read_parquet('azure://container/x.parquet')",
)
WRITES = (
    "COPY (SELECT 1) TO '{outside}/written.csv'",
    "COPY trades TO '{outside}/written.parquet'",
    "COPY (SELECT 1) TO '{warehouse}/written.csv'",
    "COPY (SELECT 1) TO '{stray}'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "COPY trades FROM '{secret}'",
    "EXPORT DATABASE '{outside}/exported'",
    "IMPORT DATABASE '{outside}'",
    "ATTACH '{outside}/attached.db'",
    "ATTACH '{outside}/other.db' AS other (READ_ONLY)",
    "ATTACH ':memory:' AS scratch",
    "CREATE TABLE kept AS SELECT * FROM read_text('{secret}')",
    "CREATE OR REPLACE VIEW trades AS SELECT 1",
    "DROP VIEW trades",
    "INSERT INTO trades SELECT * FROM trades",
    "DELETE FROM trades",
    "SELECT * FROM query($$COPY (SELECT 1) TO '{outside}/written.csv'$$)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{outside}/written.csv'",
    "SELECT 1; COPY (SELECT 1) TO '{outside}/written.csv'",
    "CHECKPOINT",
)
CODE = (
    "INSTALL httpfs",
    "FORCE INSTALL iceberg FROM 'http://127.0.0.1:1'",
    "LOAD httpfs",
    "LOAD '{outside}/evil.duckdb_extension'",
    "CREATE SECRET stolen (TYPE s3, PROVIDER credential_chain)",
    "CREATE MACRO stolen() AS TABLE SELECT * FROM read_text('{secret}')",
    "CREATE MACRO stolen() AS (SELECT content FROM read_text('{secret}'))",
    "CALL pragma_version()",
    "PREPARE stolen AS SELECT * FROM read_text('{secret}')",
    "EXECUTE stolen",
)
SETTINGS = (
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{secret}']",
    "SET disabled_filesystems = ''",
    "SET lock_configuration = false",
    "SET GLOBAL memory_limit = '64GB'",
    "SET temp_directory = '{outside}/spill'",
    "SET threads = 64",
    "SET VARIABLE stolen = (SELECT content FROM read_text('{secret}'))",
    "RESET lock_configuration",
    "RESET GLOBAL memory_limit",
    "PRAGMA memory_limit = '64GB'",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{outside}/profile.json'",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "SELECT * FROM enable_profiling('json')",
    "USE other",
)
ATTEMPTS = (*READS, *NETWORK, *WRITES, *CODE, *SETTINGS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a statement: its rows as text, or the error that refused it.

    Attributes:
        rows: one text a row.
        error: why there are none.
        server_error: whether it broke the server instead of being refused.
    """

    rows: Sequence[str] = ()
    error: str | None = None
    server_error: bool = False


Ask = Callable[[str], Asked]


@dataclass(frozen=True, slots=True)
class Places:
    """The files that attempts name: in the warehouse, and in a folder beside it."""

    warehouse: Path
    outside: Path

    def prepare(self) -> None:
        """Make them."""
        self.outside.mkdir(exist_ok=True)
        (self.outside / "secret.txt").write_text(f"a line\n{SECRET}\n")
        (self.outside / "secret.json").write_text(f'{{"content": "{SECRET}"}}\n')
        for path in (self.outside / "secret.parquet", self.warehouse / "stray.parquet"):
            pq.write_table(pa.table({"content": [SECRET]}), path)
        (self.warehouse / "link_to_secret").symlink_to(self.outside / "secret.txt")
        (self.warehouse / "link_to_outside").symlink_to(self.outside)

    def fill(self, attempt: str) -> str:
        """An attempt with these places in it."""
        return attempt.format(
            secret=self.outside / "secret.txt",
            secret_json=self.outside / "secret.json",
            secret_parquet=self.outside / "secret.parquet",
            outside=self.outside,
            outside_name=self.outside.name,
            warehouse=self.warehouse,
            stray=self.warehouse / "stray.parquet",
        )

    def digest(self) -> str:
        """Of names, sizes and contents of all files that an attempt could have changed."""
        found = hashlib.sha256()
        for path in _files(self.outside, self.warehouse):
            found.update(f"{path} {path.lstat().st_size} ".encode())
            found.update(path.read_bytes() if path.is_file() else b"")
        return found.hexdigest()


def make_attempts(
    history: HistoryWriter,
    door: str,
    ask: Ask,
    places: Places,
    attempts: Sequence[str] = ATTEMPTS,
    honest: Sequence[str] = (CONTROL, CONFIGURATION),
) -> None:
    """Make each attempt and record it as an operation `attempt`, with honest questions before and after.

    Args:
        history: where to.
        door: what the attempts go through.
        ask: runs a statement.
        places: what they name.
        attempts: which.
        honest: questions that must be answered, each time the same.
    """
    before = _answers(ask, honest)
    for attempt in attempts:
        with history.invoke(door, "attempt", {"door": door, "attempt": attempt}) as invocation:
            files = places.digest()
            asked = ask(places.fill(attempt))
            invocation.attributes |= {
                "rows": len(asked.rows),
                "secret_seen": any(SECRET in row for row in asked.rows),
                "error": asked.error,
                "server_error": asked.server_error,
                "files_changed": places.digest() != files,
            }
    with history.invoke(door, "honest", {"door": door, "before": before}) as invocation:
        invocation.attributes["after"] = _answers(ask, honest)


def _answers(ask: Ask, questions: Sequence[str]) -> Mapping[str, Any]:
    answers = {question: ask(question) for question in questions}
    return {question: list(asked.rows) if asked.error is None else asked.error for question, asked in answers.items()}


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if not path.is_dir())
