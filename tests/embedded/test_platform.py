"""The embedded platform's directory: claimed, emptied, never taken from somebody else."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from k2.embedded.platform import EmbeddedPlatform, claim_directory, write_settings
from k2.errors import UnavailableError, UsageError
from k2.records.definition import all_topics
from k2.settings import load_settings


def test_there_is_a_topic_for_each_kind_of_record_and_its_dead_letters() -> None:
    topics = all_topics()
    assert len(topics) == len(set(topics)) == 12
    assert "market.crypto.trades" in topics


@pytest.mark.parametrize("keep", [False, True])
def test_an_earlier_platform_is_emptied_unless_kept(tmp_path: Path, keep: bool) -> None:
    claim_directory(tmp_path, keep=False).close()
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "rows").write_text("rows")
    (tmp_path / "catalog.db").write_text("tables")
    claim_directory(tmp_path, keep=keep).close()
    assert (tmp_path / "warehouse" / "rows").exists() is keep
    assert (tmp_path / "catalog.db").exists() is keep


def test_a_link_in_the_directory_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis").write_text("mine")
    claim_directory(tmp_path / "data", keep=False).close()
    (tmp_path / "data" / "link").symlink_to(outside)
    claim_directory(tmp_path / "data", keep=False).close()
    assert not (tmp_path / "data" / "link").is_symlink()
    assert (outside / "thesis").read_text() == "mine"


@pytest.mark.parametrize("keep", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, keep: bool) -> None:
    (tmp_path / "thesis").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and not from an embedded platform"):
        claim_directory(tmp_path, keep=keep)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_claimed_directory_is_refused_until_it_is_free(tmp_path: Path) -> None:
    claim = claim_directory(tmp_path, keep=False)
    (tmp_path / "catalog.db").write_text("tables")
    with pytest.raises(UsageError, match="another `k2 up` runs in"):
        claim_directory(tmp_path, keep=False)
    assert (tmp_path / "catalog.db").exists()
    claim.close()
    claim_directory(tmp_path, keep=False).close()


def test_other_commands_find_the_addresses(tmp_path: Path) -> None:
    write_settings(tmp_path, "127.0.0.1:4711", 4712)
    settings = load_settings(tmp_path)
    assert (settings.kafka.bootstrap_servers, settings.api.port) == ("127.0.0.1:4711", 4712)


def test_a_part_that_ends_by_itself_is_named_and_the_rest_is_stopped(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with EmbeddedPlatform(tmp_path, api_port=0, rate_per_second=0, keep=False) as platform:
        assert json.loads((tmp_path / "settings.json").read_text())["kafka"]
        started = set(psutil.Process().children()) - before
        victim = next(child for child in started if child.cmdline()[-1] == "trades")
        victim.send_signal(signal.SIGKILL)
        with pytest.raises(UnavailableError, match="consume-trades ended with exit code -9"):
            platform.wait()
    assert set(psutil.Process().children()) <= before
    assert not (tmp_path / "settings.json").exists()
