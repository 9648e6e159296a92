"""The checkers by the name that a history's header gives."""

from collections.abc import Mapping

from conformance.checkers import (
    audit,
    chaos,
    checkpoint,
    consumer_metrics,
    contract,
    dead_letters,
    delivery,
    facts,
    fates,
    freshness,
    hostile_requests,
    letter_files,
    overload,
    planted_faults,
    provenance,
    replay,
    request_limits,
    sandbox,
    sequence,
    slow_clients,
    time_limits,
)
from conformance.checkers.verdict import Checker

CHECKERS: Mapping[str, Checker] = {
    "provenance": provenance.check,
    "delivery": delivery.check,
    "sequence": sequence.check,
    "request_limits": request_limits.check,
    "time_limits": time_limits.check,
    "dead_letters": dead_letters.check,
    "audit": audit.check,
    "chaos": chaos.check,
    "facts": facts.check,
    "fates": fates.check,
    "checkpoint": checkpoint.check,
    "freshness": freshness.check,
    "letter_files": letter_files.check,
    "replay": replay.check,
    "consumer_metrics": consumer_metrics.check,
    "hostile_requests": hostile_requests.check,
    "contract": contract.check,
    "slow_clients": slow_clients.check,
    "planted_faults": planted_faults.check,
    "sandbox": sandbox.check,
    "overload": overload.check,
}
