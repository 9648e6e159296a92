"""Secrets by reference: where they are read from, what is refused, and that no message ever holds one."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from k2.errors import K2Error, RefusedError, UnavailableError, UsageError
from k2.secrets import Secrets, with_secrets
from k2.settings import SETTINGS_FILE, load_settings

PLANTED = "pl4nted-s3cret"
PAIR = json.dumps({"user": "k2", "password": PLANTED, "port": 5432})


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """Secrets Manager as moto plays it, asked by the real client."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        environment.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
        client = boto3.client("secretsmanager")
        client.create_secret(Name="k2/plain", SecretString=PLANTED)
        client.create_secret(Name="k2/pair", SecretString=PAIR)
        client.create_secret(Name="k2/bytes", SecretBinary=b"\x00\x01")
        yield


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Secrets:
    monkeypatch.setenv("PLAIN", PLANTED)
    monkeypatch.setenv("PAIR", PAIR)
    (tmp_path / "plain").write_text(PLANTED + "\n")
    (tmp_path / "pair.json").write_text(PAIR)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" + PLANTED.encode())
    return Secrets()


@pytest.mark.parametrize("reference", ["env/PLAIN", "env/PAIR#password", "aws/k2/plain", "aws/k2/pair#password"])
def test_a_reference_is_replaced_by_its_secret(aws: None, resolved: Secrets, reference: str) -> None:
    assert resolved.resolve(f"secret://{reference}") == PLANTED


def test_a_secret_comes_from_a_file_without_its_line_feed(resolved: Secrets, tmp_path: Path) -> None:
    assert resolved.resolve(f"secret://file{tmp_path}/plain") == PLANTED
    assert resolved.resolve(f"secret://file{tmp_path}/pair.json#password") == PLANTED
    assert resolved.resolve(f"secret://file{tmp_path}/pair.json#port") == "5432"


def test_within_an_address_it_is_percent_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWKWARD", "p@ss/w:rd#%")
    uri = "postgresql+psycopg://k2:{secret://env/AWKWARD}@db.example/k2?a={secret://env/AWKWARD}"
    encoded = "p%40ss%2Fw%3Ard%23%25"
    assert Secrets().resolve(uri) == f"postgresql+psycopg://k2:{encoded}@db.example/k2?a={encoded}"
    assert Secrets().resolve("secret://env/AWKWARD") == "p@ss/w:rd#%"


def test_what_is_no_reference_stays_as_it_is() -> None:
    for text in ("", "plain", "{braces}", "s3://bucket/{x}"):
        assert Secrets().resolve(text) == text


def test_a_place_is_read_once(resolved: Secrets) -> None:
    asked: list[str] = []

    def source(name: str) -> str:
        asked.append(name)
        return PAIR

    secrets = Secrets({"env": source})
    for key in ("user", "password", "user"):
        secrets.resolve(f"secret://env/PAIR#{key}")
    assert asked == ["PAIR"]


@pytest.mark.parametrize(
    ("reference", "error", "says"),
    [
        ("env/ABSENT", UsageError, "environment variable ABSENT is not set"),
        ("file/absent/file", UsageError, "/absent/file cannot be read: No such file"),
        ("env/PLAIN#password", UsageError, "no JSON object"),
        ("env/PAIR#absent", UsageError, "no such entry"),
        ("vault/name", UsageError, "secrets come from env, file, aws"),
        ("env/", UsageError, "a reference is written"),
        ("env", UsageError, "a reference is written"),
        ("aws/k2/absent", RefusedError, "ResourceNotFoundException"),
        ("aws/k2/bytes", UsageError, "bytes under this name"),
        ("aws/k2/pair#absent", UsageError, "no such entry"),
    ],
)
def test_what_cannot_be_had_is_named_without_a_secret(
    aws: None, resolved: Secrets, reference: str, error: type[K2Error], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        resolved.resolve(f"secret://{reference}")
    assert_untold(caught.value)


def test_a_file_that_is_no_text_is_not_quoted(resolved: Secrets, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no text") as caught:
        resolved.resolve(f"secret://file{tmp_path}/bytes")
    assert_untold(caught.value)


def test_secrets_manager_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": PLANTED,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        Secrets().resolve("secret://aws/k2/plain")
    assert_untold(caught.value)


def test_secrets_manager_without_a_region_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(RefusedError, match="cannot be asked: You must specify a region"):
        Secrets().resolve("secret://aws/k2/plain")


def test_settings_take_their_secrets_from_everywhere(
    aws: None, resolved: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = {
        "catalog_uri": "postgresql+psycopg://k2:{secret://aws/k2/pair#password}@127.0.0.1/k2",
        "s3_access_key": "secret://env/PAIR#user",
        "s3_secret_key": "secret://aws/k2/plain",
    }
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"storage": storage}))
    monkeypatch.setenv("K2_STATE__REDIS_PASSWORD", f"secret://file{tmp_path}/plain")
    monkeypatch.setenv("K2_KAFKA__PASSWORD", "secret://env/PLAIN")
    settings = load_settings(tmp_path)
    assert settings.storage.catalog_uri == f"postgresql+psycopg://k2:{PLANTED}@127.0.0.1/k2"
    hidden = (settings.storage.s3_secret_key, settings.state.redis_password, settings.kafka.password)
    assert [value.get_secret_value() if value else None for value in hidden] == [PLANTED] * 3
    assert all(PLANTED not in text for text in (settings.model_dump_json(), repr(settings), str(settings)))


def test_a_setting_that_is_shown_may_not_hold_a_secret() -> None:
    with pytest.raises(UsageError, match=r"kafka\.group_id is no secret and is shown"):
        with_secrets({"kafka": {"group_id": "secret://env/PLAIN"}}, lambda setting: False)


def test_a_secret_that_cannot_be_had_names_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_KAFKA__PASSWORD", "secret://env/ABSENT")
    with pytest.raises(UsageError, match=r"^setting kafka\.password: secret://env/ABSENT: environment variable ABSENT"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"kafka": {"password": {"is": PLANTED}}},
        {"kafka": {"password": [PLANTED]}},
        {"kafka": {"pasword": PLANTED}},
        {"storage": {"s3_secret_key": [PLANTED]}},
        {"storage": {"catalog_uri": [f"postgresql://k2:{PLANTED}@db/k2"]}},
        {"storage": {"s3_secret_key": PLANTED, "catalog_name": {"x": PLANTED}}},
        {"storage": [PLANTED]},
        {"storag": {"s3_secret_key": PLANTED}},
        {"storag": PLANTED},
        {"state": {"redis_password": {"secret": PLANTED}}},
    ],
)
def test_a_damaged_setting_never_shows_a_secret(tmp_path: Path, values: dict[str, object]) -> None:
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(values))
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path)
    assert_untold(caught.value)


@pytest.mark.parametrize("variable", ["K2_STORAGE", "K2_KAFKA", "K2_STATE"])
@pytest.mark.parametrize("text", [PLANTED, f'["{PLANTED}"]', f'{{"x": "{PLANTED}"}}'])
def test_a_damaged_variable_never_shows_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path)
    assert_untold(caught.value)


def assert_untold(error: BaseException | None) -> None:
    """Neither the error nor what a traceback would show of its causes holds the planted secret."""
    while error is not None:
        assert PLANTED not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
