"""Offsets that a broker tells: those it does not know yet are no offsets."""

from types import SimpleNamespace

import pytest
from confluent_kafka import TopicPartition

from k2.errors import UnavailableError
from k2.ingestion.kafka import _told

PLACE = TopicPartition("market.crypto.trades", 1)


def test_an_offset_is_taken_as_it_is() -> None:
    assert _told(PLACE, lambda: SimpleNamespace(offset=0), None) == 0


def test_a_broker_that_does_not_know_it_yet_is_asked_again_later() -> None:
    with pytest.raises(UnavailableError, match=r"no offset of market.crypto.trades/1 yet \(-1001\)"):
        _told(PLACE, lambda: SimpleNamespace(offset=-1001), None)
