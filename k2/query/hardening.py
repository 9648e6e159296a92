"""A DuckDB that reaches named files and nothing else: no other file, no network, no extension, no setting.

The order of the steps is DuckDB's: file access can only be narrowed once the allowed places are named, and nothing can
be set any more once the configuration is locked. Views are made before that, because making one is no SELECT.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from k2.errors import UnavailableError, UsageError
from k2.settings import QuerySettings

# Local files have to stay readable; everything else that DuckDB could open by name is shut.
_DISABLED_FILESYSTEMS = "PipeFileSystem,GZipFileSystem,ZStdFileSystem,HTTPFileSystem,S3FileSystem,HuggingFaceFileSystem"
_PATTERN_CHARACTERS = re.compile(r"[*?\[]")


def literal_pattern(path: str) -> str:
    """A pattern that matches this path alone: DuckDB takes every file name for a pattern."""
    return _PATTERN_CHARACTERS.sub(r"[\g<0>]", path)


def sql_text(value: str) -> str:
    """A value as SQL text, for statements that take no parameters: CREATE VIEW."""
    return "'" + value.replace("'", "''") + "'"


def open_hardened(
    settings: QuerySettings,
    *,
    directories: Sequence[Path] = (),
    files: Sequence[str] = (),
    views: Mapping[str, str] | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory.

    Args:
        settings: memory limit and threads.
        directories: files below them can be read.
        files: can be read as well, each by its path.
        views: names, and the SELECT behind each.

    Raises:
        UsageError: DuckDB does not accept the settings.
        UnavailableError: it cannot be opened, or a view's files cannot be read.
    """
    config: dict[str, Any] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_extension_repositories": "forbidden",
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }
    try:
        instance = duckdb.connect(":memory:", config=config)
    except (duckdb.ParserException, duckdb.SyntaxException, duckdb.InvalidInputException) as error:
        raise UsageError(
            f"DuckDB does not accept the query settings {settings.memory_limit!r} and {settings.threads} threads: "
            f"{first_line(error)}"
        ) from error
    except duckdb.Error as error:
        raise UnavailableError(f"DuckDB cannot be opened: {first_line(error)}") from error
    try:
        _harden(instance, directories, files, views or {})
    except duckdb.Error as error:
        raise UnavailableError(f"the tables cannot be opened: {first_line(error)}; ask again") from error
    return instance


def _harden(
    instance: duckdb.DuckDBPyConnection, directories: Sequence[Path], files: Sequence[str], views: Mapping[str, str]
) -> None:
    instance.execute("SET GLOBAL TimeZone = 'UTC'")
    # Data files never change once written, so what was read of their footers stays true.
    instance.execute("SET GLOBAL parquet_metadata_cache = true")
    # Patterns are compared as they are written, before they are matched.
    allowed_directories = [form for folder in directories for form in _both_forms(str(folder.absolute()))]
    allowed_files = [form for path in files for form in _both_forms(path)]
    instance.execute("SET allowed_directories = ?", [allowed_directories])
    instance.execute("SET allowed_paths = ?", [allowed_files])
    instance.execute("SET enable_external_access = false")
    for name, select in views.items():
        instance.execute(f"CREATE VIEW {name} AS {select}")
    instance.execute("SET disabled_filesystems = ?", [_DISABLED_FILESYSTEMS])
    instance.execute("SET lock_configuration = true")


def _both_forms(path: str) -> tuple[str, str]:
    return path, literal_pattern(path)


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says, without the lines that show where in the SQL."""
    return str(error).partition("\n")[0]
