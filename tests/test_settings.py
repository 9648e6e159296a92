"""Settings: where each value comes from, what is refused, and that secrets stay secret."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from k2.errors import UsageError
from k2.settings import SETTINGS_FILE, Settings, load_settings


def write(directory: Path, **values: object) -> None:
    (directory / SETTINGS_FILE).write_text(json.dumps(values))


def test_the_environment_beats_the_file_beats_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, api={"port": 1234, "host": "0.0.0.0"})
    monkeypatch.setenv("K2_API__PORT", "4321")
    settings = load_settings(tmp_path)
    assert (settings.api.port, settings.api.host) == (4321, "0.0.0.0")
    assert settings.api.body_limit_bytes == Settings().api.body_limit_bytes


def test_tables_are_in_the_data_directory_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = load_settings(tmp_path).storage
    assert storage.catalog_uri == f"sqlite:///{tmp_path}/catalog.db"
    assert (storage.warehouse, storage.audit_log) == (str(tmp_path / "warehouse"), tmp_path / "audit.jsonl")
    monkeypatch.setenv("K2_STORAGE__WAREHOUSE", "elsewhere")
    assert load_settings(tmp_path).storage.warehouse == "elsewhere"


def test_a_relative_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("data")).storage.warehouse == str(tmp_path / "data" / "warehouse")


def test_a_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_KAFKA__PASSWORD", "hush-hush")
    settings = load_settings(tmp_path)
    assert settings.kafka.password is not None
    assert settings.kafka.password.get_secret_value() == "hush-hush"
    assert all("hush-hush" not in text for text in (settings.model_dump_json(), repr(settings), str(settings)))


@pytest.mark.parametrize("variable", ["K2_NONSENSE", "K2_API__PROT", "K2_APIPORT"])
def test_an_unknown_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(UsageError, match=f"{variable} is not a setting"):
        load_settings(tmp_path)


@pytest.mark.parametrize(("section", "name", "value"), [("api", "port", 65_536), ("query", "pool_size", 0)])
def test_a_value_out_of_range_is_refused_by_name(tmp_path: Path, section: str, name: str, value: int) -> None:
    write(tmp_path, **{section: {name: value}})
    with pytest.raises(UsageError, match=rf"setting {section}\.{name} is {value}"):
        load_settings(tmp_path)


def test_settings_do_not_change_once_read(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.api.port = 1
