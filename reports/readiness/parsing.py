"""Text to typed values. A malformed value is named by its place and what is wrong with it, in one line."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reports.readiness.errors import RulerError

T = TypeVar("T")


def describe(error: ValidationError) -> str:
    """The first complaint of a validation, as `place: complaint`, and how many more there are."""
    complaints = error.errors(include_url=False, include_context=False, include_input=False)
    place = ".".join(str(part) for part in complaints[0]["loc"]) or "value"
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{place}: {complaints[0]['msg']}{more}"


def read_toml(path: Path, adapter: TypeAdapter[T]) -> T:
    """The value in a TOML file; numbers with a point are exact decimals.

    Raises:
        RulerError: the file is missing, not TOML, or not of this shape.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        return adapter.validate_python(content)
    except OSError as error:
        raise RulerError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulerError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise RulerError(f"{path}: {describe(error)}") from error
