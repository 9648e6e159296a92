"""Whole servers are killed, frozen and parted; each effect is seen from outside, and so is its end."""

import socket
from pathlib import Path

import pytest

from conformance.stacks.base import Outage, PowerMissingError
from conformance.stacks.containers.container_faults import ContainerFaults
from conformance.stacks.containers.services import ContainerServices
from conformance.stacks.containers.small_object_store import SmallObjectStore

SERVER = "pushgateway"


def answers(services: ContainerServices) -> bool:
    """Whether the server says anything to a request."""
    try:
        with socket.create_connection(("127.0.0.1", services.port(SERVER)), 2) as connection:
            connection.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


@pytest.mark.parametrize("fault", ["killed", "paused", "parted"])
def test_a_fault_bites_and_is_healed(services: ContainerServices, fault: str) -> None:
    faults = ContainerFaults(services)
    assert answers(services)
    with getattr(faults, fault)(SERVER):
        state = (faults.is_running(SERVER), faults.is_paused(SERVER), faults.is_connected(SERVER))
        assert (
            state
            == {"killed": (False, False, True), "paused": (True, True, True), "parted": (True, False, False)}[fault]
        )
        assert not answers(services)
    assert answers(services)


def test_every_partition_is_led_by_a_broker_of_the_run(services: ContainerServices, tmp_path: Path) -> None:
    with services.stack(tmp_path / "platform", partitions=3) as stack:
        leaders = stack.servers().leaders(stack.topic("crypto", "trades"))
    assert set(leaders) == {0, 1, 2}
    assert set(leaders.values()) <= {"kafka-1", "kafka-2", "kafka-3"}


def test_a_small_object_store_takes_nothing_while_it_is_full(services: ContainerServices) -> None:
    store = SmallObjectStore(services, 4 << 20)
    try:
        store.fill()
        store.free()
        # Filled again, it is full again: nothing was left behind.
        store.fill()
    finally:
        store.close()


def test_an_object_store_that_others_use_is_not_filled(services: ContainerServices, tmp_path: Path) -> None:
    with (
        services.stack(tmp_path / "platform") as stack,
        pytest.raises(PowerMissingError, match="limit the warehouse first"),
        stack.outage(Outage.DISK_FULL),
    ):
        pass
