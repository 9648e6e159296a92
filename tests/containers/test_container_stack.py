"""A platform on real servers: records go their whole way, and platforms that share the servers stay apart."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.stacks.base import PowerMissingError, SignalPlan
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.images import ensure_images
from conformance.stacks.containers.kafka_cluster import KafkaCluster
from conformance.stacks.containers.services import ContainerServices
from conformance.stacks.containers.stack import ContainerStack
from k2.embedded.processes import STOP_TIMEOUT_SECONDS
from k2.records.definition import all_topics, topic

pytestmark = pytest.mark.timeout(600)
PATIENCE_SECONDS = 90.0


def wait_for(what: Callable[[], Any]) -> Any:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < give_up_at, "it did not come true"
        time.sleep(0.2)
    return found


def rows(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/v1/trades?symbol=BTCUSDT&limit=1000", timeout=30) as answer:
        return list(json.load(answer)["data"])


def test_records_go_from_a_feed_to_an_answer_through_real_servers(services: ContainerServices, tmp_path: Path) -> None:
    begun = time.time()
    with services.stack(tmp_path) as stack:
        stack.start_consumer("trades")
        stack.start_feed(200, seed=1)
        url = stack.start_api()
        found = wait_for(lambda: rows(url))
        prefix = stack.settings.kafka.topic_prefix
        assert {row["topic"] for row in found} == {topic("crypto", "trades", prefix)}
        assert stack.settings.storage.warehouse.startswith("s3://")
        assert (stack.directory / "settings.json").stat().st_mode & 0o777 == 0o600
        password = services.secrets.catalog
        assert [name for name, log in stack.logs().items() if password in log] == []
    assert services.unexpected_errors(begun) == []


def test_platforms_on_the_same_servers_do_not_see_one_another(services: ContainerServices, tmp_path: Path) -> None:
    cluster = KafkaCluster(services.addresses().bootstrap_servers)
    with services.stack(tmp_path / "one") as one, services.stack(tmp_path / "two") as two:
        one.start_consumer("trades")
        one.start_feed(200, seed=1)
        two.start_consumer("trades")
        first, second = one.start_api(), two.start_api()
        wait_for(lambda: rows(first))
        assert rows(second) == []
        topics = [set(all_topics(stack.settings.kafka.topic_prefix)) for stack in (one, two)]
        assert not topics[0] & topics[1]
        assert topics[0] | topics[1] <= cluster.topics()
    assert not cluster.topics() & (topics[0] | topics[1])


def test_a_consumer_that_is_killed_after_a_step_goes_on_without_loss(
    services: ContainerServices, tmp_path: Path
) -> None:
    with services.stack(tmp_path) as stack:
        plan = SignalPlan("WRITE", 1, tmp_path / "evidence.jsonl")
        stack.start_feed(200, seed=1)
        assert stack.start_consumer("trades", plan).wait(PATIENCE_SECONDS) == -9
        assert json.loads(plan.evidence.read_text().splitlines()[0])["step"] == "WRITE"
        stack.start_consumer("trades")
        url = stack.start_api()
        found = wait_for(lambda: [row for row in rows(url) if row["source_sequence"] == 1])
        assert len(found) == 1


def test_brokers_can_be_told_what_the_embedded_one_can_be_told(services: ContainerServices, tmp_path: Path) -> None:
    with services.stack(tmp_path) as stack:
        theirs = KafkaCluster(stack.settings.kafka.bootstrap_servers)
        name = f"{stack.settings.kafka.topic_prefix}market.crypto.trades"
        stack.command_broker("delete_topic", topic=name)
        # Each broker hears of it in its own time.
        wait_for(lambda: name not in theirs.topics())
        stack.command_broker("create_topic", topic=name, partitions=2)
        wait_for(lambda: name in theirs.topics())
        stack.command_broker("delete_records", topic=name, partition=0, before_offset=0)
        stack.command_broker("go_down")
        assert theirs.broker_count() == 0
        stack.command_broker("come_up")
        wait_for(lambda: theirs.broker_count() == 3)
        _is_felt_by(stack, theirs)
        with pytest.raises(PowerMissingError, match="real brokers cannot be made to fail requests"):
            stack.command_broker("fail_requests", api_key=0, error_codes=[1])
        with pytest.raises(ServiceError, match="does not delete records"):
            stack.command_broker("delete_records", topic=name, partition=0, before_offset=5)


def test_the_platform_also_runs_as_containers_in_the_servers_network(
    engine: EngineClient, services: ContainerServices
) -> None:
    image = {one.name: one for one in ensure_images(engine, print, ["k2"])}["k2"]
    services.start_platform(str(image.reference), ["consumer-trades", "feed", "api"])
    url = f"http://127.0.0.1:{services.port('api')}"
    assert wait_for(lambda: rows(url))[0]["topic"] == "market.crypto.trades"
    for name in ("consumer-trades", "feed", "api"):
        assert engine.networks(services.running[name].container) == [f"k2-{services.run_id}"]
        services.shut_down(name)
        assert engine.exit_status(services.running[name].container) == 0, services.logs()[name][-2000:]


def _is_felt_by(stack: ContainerStack, cluster: KafkaCluster) -> None:
    stack.command_broker("answer_late", milliseconds=700)
    assert 0.7 <= _seconds_of(cluster.topics) < STOP_TIMEOUT_SECONDS
    stack.command_broker("answer_late", milliseconds=0)
    # Once is enough: a machine at work may be late by itself.
    wait_for(lambda: _seconds_of(cluster.topics) < 0.7)


def _seconds_of(what: Callable[[], Any]) -> float:
    started = time.monotonic()
    what()
    return time.monotonic() - started
