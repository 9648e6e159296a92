"""What the ingestion tests share: embedded brokers and a stage with empty tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.embedded.broker import EmbeddedBroker
from tests.ingestion.stage import PARTITIONS, TOPICS, Stage


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS, PARTITIONS) as broker:
        yield broker


@pytest.fixture
def other_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS, PARTITIONS) as broker:
        yield broker


@pytest.fixture
def stage(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[Stage]:
    stage = Stage(tmp_path, broker)
    yield stage
    stage.catalog.close()
