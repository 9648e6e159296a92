"""Only what is marked as a demo, and still leads where it led then, may be thrown away."""

import re
from pathlib import Path

import pytest

from k2.assembly.demo import MARK, check_demo, mark_demo
from k2.errors import RefusedError
from k2.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


def changed(settings: Settings, section: str, **values: object) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def test_what_is_marked_is_a_demo(tmp_path: Path, settings: Settings) -> None:
    mark_demo(tmp_path, settings)
    assert check_demo(tmp_path, settings)


@pytest.mark.parametrize("content", [None, "", "no json"])
def test_what_is_not_marked_is_refused(tmp_path: Path, settings: Settings, content: str | None) -> None:
    if content is not None:
        (tmp_path / MARK).write_text(content)
    with pytest.raises(RefusedError, match="is not marked as a demo"):
        check_demo(tmp_path, settings)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("kafka", "bootstrap_servers", "production:9092"),
        ("kafka", "topic_prefix", "other."),
        ("storage", "catalog_uri", "postgresql+psycopg://k2@production/catalog"),
        ("storage", "catalog_name", "other"),
        ("storage", "warehouse", "s3://production/warehouse"),
        ("storage", "s3_endpoint", "http://production:7070"),
    ],
)
def test_settings_that_lead_elsewhere_since_are_refused(
    tmp_path: Path, settings: Settings, section: str, name: str, value: str
) -> None:
    mark_demo(tmp_path, settings)
    with pytest.raises(RefusedError, match=re.escape(f"and its settings say {value}")):
        check_demo(tmp_path, changed(settings, section, **{name: value}))


def test_a_broker_that_forgets_may_have_any_address(tmp_path: Path, settings: Settings) -> None:
    mark_demo(tmp_path, settings, broker_forgets=True)
    assert not check_demo(tmp_path, changed(settings, "kafka", bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(RefusedError):
        check_demo(tmp_path, changed(settings, "storage", catalog_name="other"))


def test_the_mark_holds_no_password(tmp_path: Path, settings: Settings) -> None:
    uri = "postgresql+psycopg://k2:very-secret@127.0.0.1/catalog"
    mark_demo(tmp_path, changed(settings, "storage", catalog_uri=uri))
    assert "very-secret" not in (tmp_path / MARK).read_text()
