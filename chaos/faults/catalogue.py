"""The fault that an entry of a schedule stands for, on a running stack, with the probes that must show it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.faults.fault import COUNTS, FAILS, MOST, SHOWS, Effect, Fault
from chaos.faults.outages import DependencyGone
from chaos.faults.processes import AnswersCut, ConsumerKeeper, ConsumerKilled, ConsumerStopped, EndedAtStep
from chaos.faults.servers import Ended, Parted, Paused
from chaos.faults.toxics import KINDS, Down, Toxic, effect_of
from chaos.probes import canaries, states
from chaos.probes.probe import Probe
from chaos.schedule import FaultEntry
from conformance.stacks.base import CutPlan, Outage, PowerMissingError, SignalPlan, Stack
from conformance.stacks.containers.addresses import BUCKET, REDIS_USER
from conformance.stacks.containers.stack import ContainerStack
from k2.errors import UsageError
from k2.records.definition import TRADE

_STEP_FAULTS = {"kill_after_step": "SIGKILL", "stop_after_step": "SIGSTOP"}
_CUT_ANSWERS = "cut_answers"
_HEALTH = "/health"
"""Of the object store, which answers everybody there."""
_BY_ITSELF_SECONDS = 60.0
"""How long a fault of its own making may keep a process away."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where faults are put.

    Attributes:
        stack: running.
        keeper: of the consumer.
        directory: for what processes write down of their faults.
    """

    stack: Stack
    keeper: ConsumerKeeper
    directory: Path


def plan_of(entries: Sequence[FaultEntry], directory: Path) -> SignalPlan | CutPlan | None:
    """What the consumer must be started with for these entries to come.

    Raises:
        UsageError: more than one of them needs that.
    """
    planned = [entry for entry in entries if entry.fault in _STEP_FAULTS or entry.fault == _CUT_ANSWERS]
    if len(planned) > 1:
        raise UsageError(f"a consumer can only be started with one plan: {', '.join(one.fault for one in planned)}")
    for entry in planned:
        if entry.fault == _CUT_ANSWERS:
            return CutPlan(entry.parameters["count"], _evidence(directory))
        return SignalPlan(entry.parameters["step"], entry.at, _evidence(directory), _STEP_FAULTS[entry.fault])
    return None


def fault_of(entry: FaultEntry, place: Place) -> Fault:
    """The fault of an entry.

    Raises:
        PowerMissingError: such a stack cannot do it.
        UsageError: there is no such fault.
    """
    if entry.fault in _OF_PROCESSES:
        return _OF_PROCESSES[entry.fault](entry, place)
    return server_fault_of(entry, place.stack)


def server_fault_of(entry: FaultEntry, stack: Stack) -> Fault:
    """The fault of an entry that is done to what K2's processes call, and to none of them.

    Raises:
        PowerMissingError: such a stack cannot do it.
        UsageError: there is no such fault.
    """
    if entry.fault in (*KINDS, "down"):
        return _at_proxies(entry, _containers(stack))
    if entry.fault in _OF_SERVERS:
        return _of_servers(entry, _containers(stack))
    if entry.fault in {kind.value for kind in Outage}:
        return _outage(entry, stack)
    raise UsageError(f"{entry.scenario}: there is no fault called {entry.fault}")


def server_canaries(stack: ContainerStack, name: str, *, are_short: bool = False) -> list[Probe]:
    """The canaries of a server, over its proxy.

    Args:
        stack: of the server.
        name: of the server.
        are_short: whether an answer comes in one piece, as it must where each piece is late by itself.
    """
    repeats, length = (1, 1) if are_short else (canaries.REPEATS, canaries.BYTES)
    label = f"{name} short" if are_short else name
    addresses = stack.services.addresses(proxied=True)
    address = addresses.of_services[name]
    if name == "postgres":
        return canaries.postgres_canaries(label, addresses.catalog_uri, length)
    if name.startswith("kafka-"):
        request = canaries.kafka_request(repeats)
    elif name == "redis":
        request = canaries.redis_request(REDIS_USER, addresses.secrets.redis, length)
    elif name.startswith("schema-registry-"):
        request = canaries.http_request(address, "/", repeats)
    elif are_short:
        return canaries.tcp_canaries(label, address, canaries.http_request(address, _HEALTH, 1), [canaries.FRESH])
    else:
        secrets, direct = addresses.secrets, stack.services.addresses().url(name)
        keys = secrets.object_store_access_key, secrets.object_store_secret_key
        # This server closes every connection behind its answer.
        return canaries.tcp_canaries(
            name, address, canaries.stored_object(address, direct, BUCKET, *keys), [canaries.FRESH]
        )
    return canaries.tcp_canaries(label, address, request)


def _containers(stack: Stack) -> ContainerStack:
    if not isinstance(stack, ContainerStack):
        raise PowerMissingError("this fault needs servers in containers: --stack containers")
    return stack


def _at_proxies(entry: FaultEntry, stack: ContainerStack) -> Fault:
    names = entry.target.split(",")
    felt_at = str(entry.parameters.get("felt_at", entry.target)).split(",")
    are_short = entry.fault == "jitter"
    probes = [probe for name in felt_at for probe in server_canaries(stack, name, are_short=are_short)]
    attributes = {name: int(value) for name, value in entry.parameters.items() if name not in ("toxicity", "felt_at")}
    effects = [effect_of(entry.fault, attributes, [probe.name for probe in probes])]
    proxies = stack.services.proxies
    if entry.fault == "down":
        return Down(proxies, names, effects=effects, probes=probes)
    toxicity = float(entry.parameters.get("toxicity", 1.0))
    return Toxic(proxies, names, entry.fault, attributes, toxicity, effects=effects, probes=probes)


_OF_SERVERS = {"kill": states.ENDED, "restart": states.ENDED, "pause": states.PAUSED, "part": states.PARTED}


def _of_servers(entry: FaultEntry, stack: ContainerStack) -> Fault:
    names, servers = entry.target.split(","), stack.servers()
    engine: list[Probe] = [states.ServerState(servers, name) for name in names]
    over_proxies = [probe for name in names for probe in server_canaries(stack, name)]
    effects = [
        Effect(SHOWS, tuple(probe.name for probe in engine), MOST, (_OF_SERVERS[entry.fault],)),
        Effect(FAILS, tuple(probe.name for probe in over_proxies), MOST),
    ]
    probes = [*engine, *over_proxies]
    if entry.fault == "pause":
        return Paused(servers, names, effects=effects, probes=probes)
    if entry.fault == "part":
        return Parted(servers, names, effects=effects, probes=probes)
    return Ended(servers, names, gracefully=entry.fault == "restart", effects=effects, probes=probes)


def _outage(entry: FaultEntry, stack: Stack) -> Fault:
    kind = Outage(entry.fault)
    if isinstance(stack, ContainerStack):
        raise PowerMissingError("on servers in containers the same is done at the proxies")
    storage = stack.settings.storage
    if kind in (Outage.BROKER_DOWN, Outage.BROKER_HUNG):
        address = stack.settings.kafka.bootstrap_servers.split(",")[0]
        probes = canaries.tcp_canaries("broker", address, canaries.kafka_request())
    elif kind is Outage.CATALOG_LOCKED:
        probes = [canaries.sqlite_canary("catalog", Path(storage.catalog_uri.removeprefix("sqlite:///")))]
    else:
        probes = [canaries.folder_canary("warehouse", Path(storage.warehouse) / TRADE.table.partition(".")[0])]
    names = tuple(probe.name for probe in probes)
    return DependencyGone(stack, kind, effects=[Effect(FAILS, names, MOST)], probes=probes)


def _process_probe(place: Place) -> Probe:
    return states.ProcessState("consumer state", place.keeper.consumer)


def _killed(entry: FaultEntry, place: Place) -> Fault:
    probe = _process_probe(place)
    effect = Effect(SHOWS, (probe.name,), MOST, (states.ENDED,))
    return ConsumerKilled(place.keeper, effects=[effect], probes=[probe])


def _stopped(entry: FaultEntry, place: Place) -> Fault:
    probe = _process_probe(place)
    effect = Effect(SHOWS, (probe.name,), MOST, (states.STOPPED,))
    return ConsumerStopped(place.keeper, effects=[effect], probes=[probe])


def _at_step(entry: FaultEntry, place: Place) -> Fault:
    planned = place.keeper.consumer()
    gone_as = {"SIGKILL": states.ENDED, "SIGSTOP": states.STOPPED}[_STEP_FAULTS[entry.fault]]
    # One that was killed is replaced, one that was frozen has to be seen to go on.
    frozen = states.ProcessState("frozen consumer state", lambda: planned)
    probe = _process_probe(place) if gone_as == states.ENDED else frozen
    return EndedAtStep(
        place.keeper,
        planned,
        _evidence(place.directory),
        gone_as,
        bool(entry.parameters.get("rival")),
        effects=[Effect(SHOWS, (probe.name,), MOST, (gone_as,))],
        probes=[probe],
    )


def _cut(entry: FaultEntry, place: Place) -> Fault:
    probe = states.LineCount("answers cut off", _evidence(place.directory))
    effect = Effect(COUNTS, (probe.name,), entry.parameters["count"])
    return AnswersCut(_evidence(place.directory), entry.parameters["count"], effects=[effect], probes=[probe])


_OF_PROCESSES: Mapping[str, Callable[[FaultEntry, Place], Fault]] = {
    "kill_consumer": _killed,
    "stop_consumer": _stopped,
    "kill_after_step": _at_step,
    "stop_after_step": _at_step,
    _CUT_ANSWERS: _cut,
}


def _evidence(directory: Path) -> Path:
    return directory / "evidence.jsonl"
