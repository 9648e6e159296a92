"""Secrets by reference: a setting names where its secret is, and the secret itself stands in no file of K2's.

    secret://env/NAME          an environment variable
    secret://file/PATH         a file, from the root: secret://file/run/secrets/redis is /run/secrets/redis
    secret://aws/NAME          AWS Secrets Manager, as the machine's own credentials and region allow

Each may end in #KEY: what is found is then a JSON object, and the secret its entry of that name. A line feed at the end
is no part of a secret. Within an address a reference stands in braces, and what it gives is percent-encoded:

    postgresql+psycopg://k2:{secret://aws/k2/catalog#password}@db.example/k2

References are read once, when a process starts. No message here holds a secret or a part of one.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from k2.errors import K2Error, RefusedError, UnavailableError, UsageError

_REFERENCE = r"secret://(?P<kind>[a-z]+)/(?P<name>[^#{}\s]+)(?:#(?P<key>[^{}]+))?"
_WHOLE = re.compile(_REFERENCE)
_EMBEDDED = re.compile(r"\{" + _REFERENCE + r"\}")
_MARK = "secret://"
_AWS_CONNECT_SECONDS, _AWS_READ_SECONDS, _AWS_ATTEMPTS = 3, 10, 3

SecretSource = Callable[[str], str]
"""Gives the secret of a name, or raises one of K2's errors that names it."""


def read_environment(name: str) -> str:
    """The value of an environment variable.

    Raises:
        UsageError: it is not set.
    """
    value = os.environ.get(name)
    if value is None:
        raise UsageError(f"environment variable {name} is not set")
    return value


def read_file(name: str) -> str:
    """The content of a file, named from the root.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    path = Path("/", name)
    try:
        return path.read_text()
    except UnicodeDecodeError:
        # Said without the error, which quotes the file.
        raise UsageError(f"{path} is no text") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def read_aws(name: str) -> str:
    """The current version of a secret in AWS Secrets Manager.

    Raises:
        UsageError: boto3 is not installed, or the secret is no text.
        RefusedError: there is no such secret, or it may not be read.
        UnavailableError: no answer.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,  # noqa: A004 - botocore's, which is not the built-in one
            HTTPClientError,
        )
    except ImportError:
        raise UsageError("AWS Secrets Manager needs boto3: pip install 'k2-market-data[aws]'") from None
    limits = Config(
        connect_timeout=_AWS_CONNECT_SECONDS,
        read_timeout=_AWS_READ_SECONDS,
        retries={"total_max_attempts": _AWS_ATTEMPTS, "mode": "standard"},
    )
    try:
        answer: dict[str, Any] = boto3.client("secretsmanager", config=limits).get_secret_value(SecretId=name)
    except (ConnectionError, HTTPClientError) as error:
        raise UnavailableError(f"AWS Secrets Manager does not answer: {error}") from error
    except ClientError as error:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = UnavailableError if status >= 500 or "Throttling" in said.get("Code", "") else RefusedError
        raise kind(f"AWS Secrets Manager answers {said.get('Code')}: {said.get('Message')}") from error
    except BotoCoreError as error:
        raise RefusedError(f"AWS Secrets Manager cannot be asked: {error}") from error
    if "SecretString" not in answer:
        raise UsageError("AWS Secrets Manager has bytes under this name, and no text")
    return str(answer["SecretString"])


SOURCES: Mapping[str, SecretSource] = {"env": read_environment, "file": read_file, "aws": read_aws}


class Secrets:
    """Reads what references name, each place once.

    Args:
        sources: by the word after `secret://`.
    """

    def __init__(self, sources: Mapping[str, SecretSource] = SOURCES) -> None:
        self._sources = sources
        self._read: dict[tuple[str, str], str] = {}

    def resolve(self, text: str) -> str:
        """The text with every reference replaced by its secret.

        Raises:
            UsageError: a reference cannot be understood, or there is nothing where it points.
            RefusedError: the secret may not be read.
            UnavailableError: whoever has it does not answer.
        """
        whole = _WHOLE.fullmatch(text)
        if whole is not None:
            return self._secret(whole)
        if _MARK in _EMBEDDED.sub("", text):
            raise UsageError(f"a reference is written {_MARK}{{{'|'.join(self._sources)}}}/NAME or .../NAME#KEY")
        return _EMBEDDED.sub(lambda found: quote(self._secret(found), safe=""), text)

    def _secret(self, found: re.Match[str]) -> str:
        kind, name, key = found["kind"], found["name"], found["key"]
        shown = f"{_MARK}{kind}/{name}" + (f"#{key}" if key is not None else "")
        source = self._sources.get(kind)
        if source is None:
            raise UsageError(f"{shown}: secrets come from {', '.join(self._sources)}")
        try:
            if (kind, name) not in self._read:
                self._read[kind, name] = source(name)
            value = self._read[kind, name].removesuffix("\n").removesuffix("\r")
            return value if key is None else _entry(value, key)
        except K2Error as error:
            raise type(error)(f"{shown}: {error}") from error


def with_secrets(
    values: Mapping[str, Any], is_secret: Callable[[str], bool], secrets: Secrets | None = None
) -> dict[str, Any]:
    """Settings with every reference replaced by what it names.

    Args:
        values: by section and name.
        is_secret: whether "section.name" is hidden wherever settings are shown; no other may hold a secret.
        secrets: reads them; the places of this module, unless told otherwise.

    Raises:
        UsageError: see Secrets.resolve; or the setting is shown to everybody. The message names the setting.
        RefusedError: see Secrets.resolve.
        UnavailableError: see Secrets.resolve.
    """
    reader = secrets or Secrets()

    def resolved(setting: str, value: Any) -> Any:
        if isinstance(value, Mapping) and "." not in setting:
            return {name: resolved(f"{setting}.{name}", entry) for name, entry in value.items()}
        if not isinstance(value, str) or _MARK not in value:
            return value
        if not is_secret(setting):
            raise UsageError(f"setting {setting} is no secret and is shown to everybody: write its value instead")
        try:
            return reader.resolve(value)
        except K2Error as error:
            raise type(error)(f"setting {setting}: {error}") from error

    return {section: resolved(section, entries) for section, entries in values.items()}


def _entry(text: str, key: str) -> str:
    try:
        entries = json.loads(text)
    except ValueError:
        # Said without the error, which quotes what it could not read.
        raise UsageError("what is there is no JSON object, so it has no entries") from None
    if not isinstance(entries, dict) or not isinstance(entries.get(key), str | int):
        raise UsageError("what is there has no such entry, or none that is text")
    return str(entries[key])
