"""Whether a fault bit: what probes saw while it lasted, beside what they saw before and afterwards.

An effect names probes, each of which must show it, and says what it is:

    slower   its fast answers took `least` seconds longer than those before; none at all counts as slower
    spread   the slowest and the fastest came to lie `least` seconds further apart than nearly all did before
    fails    a share of `least` found what it should not
    cut      so many did
    shows    a share of `least` gave one of `answers`, and before none did
    counts   the number that the probe gives rose by `least`

A reading that is asked how long it took belongs to the time at which it began, any other to the time at which it
ended: what had no answer when the fault was healed says nothing. What cannot be told is a doubt, never a failure: a
fault without effect says nothing of the system.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.checkers.verdict import Finding, doubt

_FEWEST_READINGS = 2
"""While a fault lasts; the slowest of them take longer than it does."""
_FEWEST_TO_SPREAD = 3
"""Two answers may lie close together by chance, however far apart they can."""
_FEWEST_CONTROLS = 3
_FAST = 0.2
_USUALLY = 0.7
"""Of the readings before a fault: a busy machine may make one or the other too late."""
_SETTLING_NS = 150_000_000
"""After a fault was put there, in which what was under way may still be spared."""
Reading = Mapping[str, Any]
Readings = Sequence[Reading]
ByProbe = Mapping[str, Readings]


def find_without_effect(fault: Mapping[str, Any], readings: ByProbe, first_injecting_ns: int) -> Iterator[Finding]:
    """Doubts about a fault whose probes did not show it, or do not show that it is gone.

    Args:
        fault: attributes of the operation `fault`.
        readings: of each probe, in the order of time.
        first_injecting_ns: from when on the first fault of the run was put there; before it, all was well.
    """
    name = f"{fault['fault']} on {fault['target']}"
    effects = fault["effects"]
    if not effects:
        yield doubt("fault_did_not_bite", f"{name}: nothing looks whether it does")
    silent = [
        f"{probe}: {said}"
        for effect in effects
        for probe in effect["probes"]
        if (said := _objection(effect, readings.get(probe, ()), fault, first_injecting_ns)) is not None
    ]
    if silent:
        yield doubt("fault_did_not_bite", f"{name} did not show its effect", len(silent), tuple(silent))
    ill = [
        probe
        for probe in sorted({probe for effect in effects for probe in effect["probes"]})
        if not any(one["is_well"] for one in readings.get(probe, ()) if one["wall_ns"] >= fault["healed_wall_ns"])
    ]
    if ill:
        yield doubt("fault_not_healed", f"{name} was healed, and is still there", len(ill), tuple(ill))


def _objection(effect: Mapping[str, Any], readings: Readings, fault: Mapping[str, Any], first_ns: int) -> str | None:
    """Why the readings of one probe do not show the effect; None if they do."""
    before = [one for one in readings if _ended(one) < first_ns]
    began, ended = fault["injected_wall_ns"] + _SETTLING_NS, fault["healing_wall_ns"]
    at = _began if effect["kind"] in ("slower", "spread") else _ended
    during = [one for one in readings if began <= at(one) < ended]
    if effect["kind"] == "counts":
        return _not_counted(effect, readings)
    if len(before) < _FEWEST_CONTROLS:
        return f"{len(before)} readings before it are too few to compare with"
    if len(during) < (_FEWEST_TO_SPREAD if effect["kind"] == "spread" else _FEWEST_READINGS):
        return f"{len(during)} readings while it lasted are too few"
    if np.mean([one["is_well"] for one in before]) < _USUALLY:
        return f"it was {before[-1]['answer']} before already"
    return _JUDGES[effect["kind"]](effect, before, during)


def _slower(effect: Mapping[str, Any], before: Readings, during: Readings) -> str | None:
    # The fastest fifth: what a busy machine adds to some answers must not pass for what a fault adds to all.
    usual = float(np.quantile([one["seconds"] for one in before], _FAST, method="nearest"))
    slow = float(np.quantile([one["seconds"] if one["is_well"] else np.inf for one in during], _FAST, method="nearest"))
    if slow - usual >= effect["least"]:
        return None
    return f"{slow * 1e3:.0f} ms, before {usual * 1e3:.0f} ms, {effect['least'] * 1e3:.0f} ms more were to be seen"


def _spread(effect: Mapping[str, Any], before: Readings, during: Readings) -> str | None:
    # Of the few while it lasts all count, of the many before not those few that a busy machine made late.
    usual, wide = _width(before, _FAST / 2), _width(during, 0.0)
    if wide - usual >= effect["least"]:
        return None
    return f"answers lay {wide * 1e3:.0f} ms apart, before {usual * 1e3:.0f} ms"


def _width(readings: Readings, left_out: float) -> float:
    seconds = [one["seconds"] for one in readings if one["is_well"]] or [0.0]
    low, high = np.quantile(seconds, (left_out, 1.0 - left_out))
    return float(high - low)


def _fails(effect: Mapping[str, Any], before: Readings, during: Readings) -> str | None:
    share = float(np.mean([not one["is_well"] for one in during]))
    return None if share >= effect["least"] else f"{share:.0%} of {len(during)} requests failed"


def _cut(effect: Mapping[str, Any], before: Readings, during: Readings) -> str | None:
    count = sum(not one["is_well"] for one in during)
    return None if count >= effect["least"] else f"{count} of {len(during)} requests were cut"


def _shows(effect: Mapping[str, Any], before: Readings, during: Readings) -> str | None:
    if any(one["answer"] in effect["answers"] for one in before):
        return f"it was {' or '.join(effect['answers'])} before already"
    share = float(np.mean([one["answer"] in effect["answers"] for one in during]))
    return None if share >= effect["least"] else f"{share:.0%} of {len(during)} looks found it so"


def _not_counted(effect: Mapping[str, Any], readings: Readings) -> str | None:
    numbers = [int(one["answer"]) for one in readings]
    rise = numbers[-1] - numbers[0] if numbers else 0
    return None if rise >= effect["least"] else f"{rise} were counted, not {effect['least']:.0f}"


def _began(reading: Reading) -> int:
    return int(reading["wall_ns"])


def _ended(reading: Reading) -> int:
    return int(reading["wall_ns"] + reading["seconds"] * 1e9)


_JUDGES: Mapping[str, Callable[[Mapping[str, Any], Readings, Readings], str | None]] = {
    "slower": _slower,
    "spread": _spread,
    "fails": _fails,
    "cut": _cut,
    "shows": _shows,
}
