"""The recoveries: what breaks, what is seen of it, and which blocks of the runbooks are typed. A row each."""

from collections.abc import Sequence
from datetime import UTC, datetime

from conformance.drivers.recoveries import Recovery, Step
from conformance.drivers.table_view import open_table
from conformance.stacks.containers.addresses import BROKERS, REGISTRIES
from conformance.stacks.containers.deployed import Deployed
from k2.records.definition import TRADE

MINUTE = 60.0


def killed(name: str, minutes: float, servers: Sequence[str], steps: Sequence[Step]) -> Recovery:
    """Servers ended as in a power cut."""
    return Recovery(
        name,
        minutes * MINUTE,
        lambda deployed: deployed.kill(*servers),
        lambda deployed: [deployed.state(server) for server in servers],
        ["exited"] * len(servers),
        lambda _: steps,
    )


def damage_checkpoints(deployed: Deployed) -> None:
    """A broker starts with checkpoint files that hold something else."""
    deployed.shell("compose stop kafka-1")
    files = "/var/lib/kafka/data/replication-offset-checkpoint /var/lib/kafka/data/recovery-point-offset-checkpoint"
    deployed.shell(f"compose run --rm --no-deps kafka-1 sh -c 'echo torn | tee {files}'")
    deployed.shell("compose start kafka-1")


def complains(deployed: Deployed) -> bool:
    """Whether the broker says that it gives its log directory up, and ends."""
    return "Shutdown broker because all log dirs in" in deployed.shell("compose logs --tail 2000 kafka-1")


def go_back_to(deployed: Deployed) -> Sequence[Step]:
    """The snapshot before the last three, as somebody who looks for the data of before would find it."""
    table = open_table(deployed.stack.settings.storage, TRADE.table)
    chosen = table.metadata.snapshots[-4]
    time = datetime.fromtimestamp(chosen.timestamp_ms / 1000, UTC).isoformat()
    return [Step("failure-recovery", "k2 audit snapshot", {"TIME": time, "SNAPSHOT": str(chosen.snapshot_id)})]


def lose_catalog_and_warehouse(deployed: Deployed) -> None:
    """Both servers, and all they had."""
    deployed.lose("postgres", "object-store")


RECOVERIES = (
    (
        ("OPS-3a",),
        killed("kafka", 5, BROKERS, [
            Step("kafka-broker-down", "healthy kafka-3"), Step("kafka-broker-down", "kafka-healthy\nask"),
        ]),
    ),
    (
        ("OPS-3b",),
        killed("object-store", 10, ["object-store"], [
            Step("object-store-down", "compose restart object-store"), Step("object-store-down", "k2 query --sql"),
        ]),
    ),
    (
        ("OPS-3c",),
        killed("postgresql", 15, ["postgres"], [
            Step("postgresql-down", "compose restart postgres"), Step("postgresql-down", "k2 query snapshots"),
        ]),
    ),
    (
        ("OPS-3d",),
        killed("schema-registry", 15, [*REGISTRIES, "postgres"], [
            Step("postgresql-down", "compose restart postgres"),
            Step("schema-registry-down", "compose restart schema-registry-1"),
        ]),
    ),
    (
        ("OPS-3d",),
        killed("cascade", 15, ["postgres", "object-store", "consumer-trades"], [
            Step("failure-recovery", "compose up --detach postgres object-store"),
            Step("failure-recovery", "k2 query trades --limit 1"),
        ]),
    ),
    (
        ("OPS-3e",),
        Recovery("kafka-checkpoint-files", 5 * MINUTE, damage_checkpoints, complains, True, lambda _: [
            Step("checkpoint-corruption", "-checkpoint'"), Step("checkpoint-corruption", "k2 audit verify --recover"),
        ]),
    ),
    (
        ("CON-6d",),
        Recovery("table-rolled-back", 5 * MINUTE, lambda _: None, lambda _: "wrong rows", "wrong rows", go_back_to),
    ),
    (
        ("OPS-3f",),
        Recovery(
            "restore-from-backup",
            15 * MINUTE,
            lose_catalog_and_warehouse,
            lambda deployed: [deployed.state(server) for server in ("postgres", "object-store")],
            ["gone", "gone"],
            lambda _: [
                Step("disaster-recovery", "compose stop feed consumer-trades"),
                Step("disaster-recovery", "k2 restore"),
                Step("disaster-recovery", "compose restart schema-registry-1"),
                Step("disaster-recovery", "k2 query gaps"),
                Step("disaster-recovery", "k2 audit verify --data-type"),
                Step("disaster-recovery", "audit-before-restore"),
            ],
            prepare=[Step("disaster-recovery", "k2 backup")],
        ),
    ),
)  # fmt: skip
