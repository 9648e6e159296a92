"""The embedded stack leaves no process and no file outside its directory."""

from pathlib import Path

import psutil
import pytest

from conformance.drivers.feeding import feed_records, table_offsets
from conformance.stacks.embedded import EmbeddedStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings


def test_it_works_in_its_directory_and_ends_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, directory = tmp_path / "elsewhere", tmp_path / "stack"
    for folder in (elsewhere, directory):
        folder.mkdir()
    # What processes are forked from is started with the first and serves all stacks of this process.
    with EmbeddedStack(tmp_path / "first"):
        pass
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.chdir(elsewhere)
    before = set(psutil.Process().children(recursive=True))
    with EmbeddedStack(directory) as stack:
        stack.start_consumer("trades")
        stack.start_api()
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(records=50)))
        assert all(delivery.error is None for _, delivery in fed.items)
        assert len(set(psutil.Process().children(recursive=True)) - before) == 3
        assert stack.process("api").returncode() is None
        assert table_offsets(stack) is not None
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in directory.iterdir()) == ["data", "logs"]
    assert {"01-broker", "02-consumer-trades", "03-api"} == set(stack.logs())
