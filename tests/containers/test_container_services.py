"""The servers of a run: what is there, what can be done to them, and that they keep to themselves."""

import ipaddress
import json
import time
import urllib.error
import urllib.request
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from conformance.stacks.containers.addresses import REGISTRY_PATH
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.kafka_cluster import KafkaCluster
from conformance.stacks.containers.ownership import OWNER_LABEL, RUN_LABEL, this_process
from conformance.stacks.containers.service_logs import ErrorLine
from conformance.stacks.containers.services import ContainerServices

pytestmark = pytest.mark.timeout(600)
SERVERS = {
    *("kafka-1", "kafka-2", "kafka-3", "schema-registry-1", "schema-registry-2", "postgres", "object-store"),
    *("redis", "prometheus", "alertmanager", "pushgateway", "toxiproxy"),
}


def test_every_server_is_up_and_says_how_long_it_took(services: ContainerServices) -> None:
    assert set(services.running) == set(services.start_seconds) == SERVERS
    assert all(0 < seconds < 180 for seconds in services.start_seconds.values())
    assert all(10**6 < held < 10**9 for held in services.memory_bytes().values())


def test_everything_carries_its_run_and_its_owner(services: ContainerServices, engine: EngineClient) -> None:
    labels = engine.labels(f"{RUN_LABEL}={services.run_id}")
    assert len(labels) == len(SERVERS) + 1
    assert {one[OWNER_LABEL] for one in labels} == {this_process().label()}


def test_three_brokers_keep_each_record_three_times(services: ContainerServices) -> None:
    bootstrap_servers = services.addresses().bootstrap_servers
    cluster = KafkaCluster(bootstrap_servers)
    assert cluster.broker_count() == 3
    cluster.create_topics(["three-times"], 2)
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        partitions = _known_partitions(admin, "three-times")
        assert [len(partition.replicas) for partition in partitions] == [3, 3]
        resource = ConfigResource("TOPIC", "three-times")
        found = admin.describe_configs([resource])[resource].result(timeout=10)
        assert found["min.insync.replicas"].value == "2"
    finally:
        cluster.delete_topics(["three-times"])
    assert "three-times" not in cluster.topics()


def test_a_schema_given_to_one_registry_is_known_to_the_other(services: ContainerServices) -> None:
    first, second = (f"http://127.0.0.1:{services.port(f'schema-registry-{n}')}{REGISTRY_PATH}" for n in (1, 2))
    before, after = ({"type": "record", "name": "A", "fields": [field]} for field in _FIELDS)
    number = _post(f"{first}/subjects/a-value/versions", {"schema": json.dumps(before)})["id"]
    known = _get(f"{second}/schemas/ids/{number}")
    assert json.loads(known["schema"]) == before
    with pytest.raises(urllib.error.HTTPError) as raised:
        _post(f"{second}/subjects/a-value/versions", {"schema": json.dumps(after)})
    with raised.value:
        assert raised.value.code == 409


def test_every_server_is_also_reached_through_toxiproxy(services: ContainerServices) -> None:
    proxied = services.addresses(proxied=True)
    assert KafkaCluster(proxied.bootstrap_servers).broker_count() == 3
    for name in ("prometheus", "alertmanager", "pushgateway"):
        assert _status(f"{proxied.url(name)}/-/ready") == 200
    for url in proxied.schema_registry_url.split(","):
        assert isinstance(_get(f"{url}/subjects"), list)


def test_a_toxic_is_felt_and_gone_when_it_is_removed(spoiled: ContainerServices) -> None:
    url = f"{spoiled.addresses(proxied=True).url('prometheus')}/-/ready"
    assert _seconds(url) < 1.0
    spoiled.proxies.add_toxic("prometheus", "latency", {"latency": 1500}, toxic="slow")
    assert _seconds(url) >= 1.5
    spoiled.proxies.remove_toxic("prometheus", "slow")
    assert _seconds(url) < 1.0
    spoiled.proxies.disable("prometheus")
    with pytest.raises(OSError, match=r"refused|reset|closed"):
        _status(url)
    spoiled.proxies.reset()
    assert _status(url) == 200


def test_a_paused_server_is_silent_and_a_killed_one_gone_until_it_is_started_again(services: ContainerServices) -> None:
    url = f"{services.addresses().url('pushgateway')}/-/ready"
    services.pause("pushgateway")
    with pytest.raises(TimeoutError):
        _status(url, timeout_seconds=0.5)
    services.resume("pushgateway")
    assert _status(url) == 200
    services.kill("pushgateway")
    with pytest.raises(OSError, match=r"refused|reset|closed"):
        _status(url)
    services.start_again("pushgateway")
    assert _status(url) == 200


def test_nothing_listens_beyond_loopback(services: ContainerServices) -> None:
    ours = {port for one in services.running.values() for port in one.spec.ports.values()}
    listening = [
        connection.laddr for connection in psutil.net_connections("tcp") if connection.status == psutil.CONN_LISTEN
    ]
    found = {address.port: address.ip for address in listening if address.port in ours}
    assert set(found) == ours
    assert {ip for ip in found.values() if not ipaddress.ip_address(ip).is_loopback} == set()


def test_each_server_is_in_the_runs_own_network_and_no_other(services: ContainerServices, engine: EngineClient) -> None:
    for one in services.running.values():
        assert engine.networks(one.container) == [f"k2-{services.run_id}"]


def test_passwords_are_in_files_for_their_owner_and_in_no_log(services: ContainerServices) -> None:
    directory = services.directory / "secrets"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}
    passwords = [value for values in services.secrets.environments().values() for value in values.values()]
    logs = "\n".join(services.logs().values())
    assert [password for password in passwords if password in logs] == []
    assert [password for password in passwords if password in repr(services.addresses())] == []


def test_no_server_tells_of_an_unexpected_error_while_it_starts(
    started: tuple[ContainerServices, list[ErrorLine]],
) -> None:
    _, errors = started
    assert errors == []


_FIELDS = ({"name": "a", "type": "long"}, {"name": "b", "type": "long"})


def _known_partitions(admin: AdminClient, topic: str) -> list[Any]:
    # Each broker hears of a new topic in its own time.
    give_up_at = time.monotonic() + 30.0
    while not (found := list(admin.list_topics(topic, timeout=10).topics[topic].partitions.values())):
        assert time.monotonic() < give_up_at, "no broker knows the topic"
        time.sleep(0.1)
    return found


def _status(url: str, timeout_seconds: float = 10.0) -> int:
    with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
        return int(answer.status)


def _seconds(url: str) -> float:
    started = time.monotonic()
    assert _status(url) == 200
    return time.monotonic() - started


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _post(url: str, body: dict[str, str]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
