"""What the query tests share: an engine over a fresh folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.query.table_files import Opened, open_engine


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opened = open_engine(tmp_path)
    yield opened
    opened.pool.close()
