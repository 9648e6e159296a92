"""Which fault must fire which alerts, and which faults come at the same time, for they do not disturb one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.alerts import faults
from chaos.alerts.faults import AlertFault
from chaos.alerts.platform import AlertPlatform
from chaos.alerts.scaling import longest_window_ms
from chaos.faults.catalogue import server_fault_of
from chaos.faults.fault import Fault
from chaos.schedule import FaultEntry
from conformance.drivers.alert_rules import read_rule_texts
from conformance.history import HistoryWriter
from conformance.stacks.containers.addresses import BROKERS
from k2.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
NAMED_GROUPS = ("pipeline", "circuit-breaker", "api", "infrastructure", "query", "consumer", "producer")
"""Groups of rules whose alerts must be fired by something real. Objectives and their burn rates look back over hours
and days and are promtool's affair, as the tier of warnings below is."""
LEAST_REAL = 18
CONTROL_WINDOWS = 3


MatrixFault = AlertFault | Fault
"""A fault of this package, or of chaos.faults."""


@dataclass(frozen=True, slots=True)
class MatrixEntry:
    """A fault and what it must fire.

    Attributes:
        fault: kind.
        target: what it is done to; several names stand with commas between.
        fires: names of alerts.
        least_seconds: it lasts so long at least, so that it can show itself.
    """

    fault: str
    target: str
    fires: tuple[str, ...]
    least_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class FaultGroup:
    """Faults that come at the same time, in this order."""

    name: str
    entries: tuple[MatrixEntry, ...]


GROUPS = (
    FaultGroup(
        "feed and processes",
        (
            # Before the API is killed, whose name the next one takes.
            MatrixEntry("small_memory", "another API", ("HighMemoryUsage",)),
            MatrixEntry("spoiled", "feed", ("SequenceGapsDetected", "DuplicateRateHigh")),
            MatrixEntry("disk_full", "dead letters", ("DiskSpaceLow",)),
            MatrixEntry("killed", "API", ("APIDown",)),
            MatrixEntry("members_come_and_go", "consumers of quotes", ("ConsumerRebalancingFrequently",)),
        ),
    ),
    FaultGroup(
        "catalog locked, brokers out of reach",
        (
            MatrixEntry(
                "locked", "catalog",
                ("APILatencyHigh", "APIErrorRateHigh", "QueryTimeoutRateHigh", "QueryExecutionSlow"),
            ),
            MatrixEntry("down", ",".join(BROKERS), ("ProducerErrorRateHigh", "ProducerRetryExhausted")),
        ),
    ),
    FaultGroup(
        "object store ended",
        (
            MatrixEntry(
                "kill", "object-store",
                (
                    "ObjectStoreDown", "IcebergWriteFailures", "CircuitBreakerOpen", "CircuitBreakerFailureRateHigh",
                    "NoDataIngested", "ConsumerLagGrowing", "ConsumerLagCritical",
                ),
            ),
        ),
    ),
    FaultGroup(
        "database and a broker ended",
        (
            MatrixEntry("kill", "postgres", ("PostgreSQLDown", "APIErrorRateHigh")),
            MatrixEntry("kill", "kafka-2", ("KafkaBrokerDown",)),
        ),
    ),
)  # fmt: skip


def named_alerts(root: Path = ROOT) -> tuple[str, ...]:
    """The alerts that must be fired by something real, by the rules' own files."""
    return tuple(str(rule["alert"]) for rule in _rules(root))


def longest_window_seconds(root: Path = ROOT) -> float:
    """How far any of these alerts looks back in production."""
    return max(longest_window_ms(rule["expr"]) for rule in _rules(root)) / 1_000


def chosen_groups(only: str | None, groups: Sequence[FaultGroup] = GROUPS) -> tuple[FaultGroup, ...]:
    """All groups, or of each the faults that are called so, or that must fire an alert of this name.

    Raises:
        UsageError: there is none.
    """
    if only is None:
        return tuple(groups)
    found = [
        FaultGroup(group.name, entries)
        for group in groups
        if (entries := tuple(one for one in group.entries if only in (one.fault, one.target, *one.fires)))
    ]
    if not found:
        raise UsageError(f"no fault and no alert of the matrix is called {only}: `python -m chaos alerts --list`")
    return tuple(found)


def fault_for(entry: MatrixEntry, platform: AlertPlatform, history: HistoryWriter) -> MatrixFault:
    """The fault of an entry, on a platform at work."""
    match entry.fault:
        case "small_memory":
            return faults.SmallMemory(platform)
        case "spoiled":
            return faults.FeedSpoiled(platform)
        case "killed":
            return faults.ApiKilled(platform)
        case "members_come_and_go":
            return faults.MembersComeAndGo(platform)
        case "locked":
            return faults.CatalogLocked(platform)
        case "disk_full" if platform.disk is not None:
            return faults.DiskFilled(platform, platform.disk)
        case "disk_full":
            return faults.DiskPretended(platform, platform.stack.services.addresses().url("pushgateway"), history)
    planned = FaultEntry("alerts", entry.fault, entry.target, "acknowledged", 0, 0.0, {})
    return server_fault_of(planned, platform.stack)


def _rules(root: Path) -> list[Mapping[str, Any]]:
    found = read_rule_texts(root / "deploy" / "prometheus")
    return [rule.fields for rule in found if rule.is_alert and rule.group in NAMED_GROUPS]
