"""Secrets planted where K2 may be told to look for them, what its processes read, and whether one ever shows."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from conformance.stacks.warm_start import process_starter

READ_BY_A_PROCESS = """
import hashlib, json, sys
from pathlib import Path
from k2.settings import load_settings
settings = load_settings(Path(sys.argv[1]))
password = settings.storage.catalog_uri.partition("k2:")[2].partition("@")[0]
hidden = {
    "storage.catalog_uri": password,
    "storage.s3_access_key": settings.storage.s3_access_key.get_secret_value(),
    "storage.s3_secret_key": settings.storage.s3_secret_key.get_secret_value(),
    "state.redis_password": settings.state.redis_password.get_secret_value(),
    "kafka.password": settings.kafka.password.get_secret_value(),
}
print(json.dumps({name: hashlib.sha256(value.encode()).hexdigest() for name, value in hidden.items()}))
"""
COMMAND_TIMEOUT_SECONDS = 120.0
_REGION = "ap-southeast-2"
_PLACES = ("env", "file", "aws")


@dataclass(frozen=True, slots=True)
class PlantedSecrets:
    """One secret a place, different in every run.

    Attributes:
        values: by place: "env", "file", "aws".
        references: to each of them.
        environment: of a process that is to find them.
    """

    values: Mapping[str, str]
    references: Mapping[str, str]
    environment: Mapping[str, str]

    def shown_in(self, text: str) -> int:
        """How often any of them stands in a text."""
        return sum(text.count(value) for value in self.values.values())

    def digest(self, place: str) -> str:
        """SHA-256 of one of them."""
        return hashlib.sha256(self.values[place].encode()).hexdigest()


@contextmanager
def planted_secrets(directory: Path) -> Iterator[PlantedSecrets]:
    """Plant them: in the environment, in a file, and in a server that plays AWS Secrets Manager."""
    values = {place: f"planted-{secrets.token_hex(12)}" for place in _PLACES}
    path = directory / "secret.json"
    path.write_text(json.dumps({"password": values["file"]}))
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        account = {"AWS_ACCESS_KEY_ID": "harness", "AWS_SECRET_ACCESS_KEY": "harness", "AWS_DEFAULT_REGION": _REGION}
        url = f"http://{host}:{port}"
        client = boto3.client(
            "secretsmanager",
            endpoint_url=url,
            region_name=_REGION,
            aws_access_key_id="harness",
            aws_secret_access_key="harness",  # noqa: S106 - of a server that plays the real one
        )
        client.create_secret(Name="k2/clause", SecretString=json.dumps({"password": values["aws"]}))
        yield PlantedSecrets(
            values,
            {
                "env": "secret://env/PLANTED_SECRET",
                "file": f"secret://file{path.absolute()}#password",
                "aws": "secret://aws/k2/clause#password",
            },
            {"PLANTED_SECRET": values["env"], "AWS_ENDPOINT_URL_SECRETS_MANAGER": url, **account},
        )
    finally:
        server.stop()


def read_by_a_process(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each secret setting as a process of its own reads it.

    Raises:
        RuntimeError: it could not.
    """
    script = directory / "read_settings.py"
    script.write_text(READ_BY_A_PROCESS)
    done = subprocess.run(
        [sys.executable, str(script), str(directory)],
        env={**os.environ, **environment, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"settings could not be read: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def everything_said(directory: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code of a command of K2, and all it wrote to standard output and standard error."""
    with tempfile.TemporaryFile() as errors:
        command = ["k2.cli", "--data-dir", str(directory), *arguments]
        process = process_starter()(command, errors, {**os.environ, **environment})
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            printed = process.stdout.read().decode(errors="replace")
            exit_code = process.wait(COMMAND_TIMEOUT_SECONDS)
        errors.seek(0)
        return exit_code, printed + errors.read().decode(errors="replace")
