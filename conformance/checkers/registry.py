"""The checkers by the name that a history's header gives."""

from collections.abc import Mapping

from conformance.checkers import (
    audit,
    checkpoint,
    dead_letters,
    delivery,
    facts,
    freshness,
    provenance,
    request_limits,
    sequence,
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
    "facts": facts.check,
    "checkpoint": checkpoint.check,
    "freshness": freshness.check,
}
