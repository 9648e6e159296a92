"""What the storage tests share: a fresh warehouse with its tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.warehouse_tables import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path)
    warehouse.open_catalog().create_tables()
    yield warehouse
    warehouse.close()
