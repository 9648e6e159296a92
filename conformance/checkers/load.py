"""Load: thresholds that are data, over phases of a load that is known.

Verified:
- broken: every threshold of the plan holds.
- too_few_samples: each threshold was judged on as many requests as it asks for, whichever way it came out; otherwise
  the verdict is unknown.
- that the load was there: in each phase requests were due as planned (not_offered), the generator sent them in time
  unless the user they belong to was still waiting for its last answer (generator_late), gauges were looked at
  (not_watched) and every user met data to ask for (nothing_found); otherwise the verdict is unknown.

Not verified:
- that the answers are right: other checkers follow records into answers.
- where in the system the time went.

A request's latency is from when it was due to its last byte. In a phase with a rate requests are due whether or not
earlier ones were answered, so a stalled system is charged for all requests it delayed (no coordinated omission). In a
phase without a rate each user asks again once it is answered: such a phase measures throughput, and its latencies are
those of so many users and no more.

Reads the observations
    requests  phase, user, due_ns, sent_ns, done_ns (wall clock), free_ns (since when the user was idle), status (0: no
              answer), is_expected (whether this user may be answered so), code (of an error), rows
    gauges    wall_ns, name, value
and the parameters phases [{name, seconds, requests_per_second}] and thresholds [{measure, phases, users (a class or
"all"), at_most and/or at_least, minimum_samples, compared_with (phases; ratio_of_rates only)}]. The measures are
MEASURES below.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

EVERYBODY = "all"
RATIO_OF_RATES = "ratio_of_rates"
SECOND_NS = 10**9
# Random arrivals of so many seconds vary by themselves; four standard deviations are allowed for.
_DEVIATIONS = 4.0
_LATE_NS = 50_000_000
_MOST_LATE_SHARE = 0.05
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Requests as columns, each [requests].

    Attributes:
        phase, user: names.
        latency_ms: from when it was due; of one that was never answered, until that was clear.
        lateness_ns: how much later it was sent than it could have been.
        done_ns: when it was over.
        status: 0 without an answer.
        is_expected: whether the user may be answered so.
        rows: in the answer.
    """

    phase: npt.NDArray[np.str_]
    user: npt.NDArray[np.str_]
    latency_ms: npt.NDArray[np.float64]
    lateness_ns: npt.NDArray[np.int64]
    done_ns: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]
    is_expected: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(cls, history: History) -> "Requests":
        """All requests of a history."""
        rows = history.rows("requests")

        def numbers(name: str) -> npt.NDArray[np.int64]:
            return np.array([row[name] for row in rows], np.int64)

        due, done = numbers("due_ns"), numbers("done_ns")
        return cls(
            np.array([row["phase"] for row in rows], np.str_),
            np.array([row["user"] for row in rows], np.str_),
            (done - due) / 1e6,
            numbers("sent_ns") - np.maximum(due, numbers("free_ns")),
            done,
            numbers("status"),
            np.array([row["is_expected"] for row in rows], np.bool_),
            numbers("rows"),
        )

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Requests":
        """Some of them."""
        return Requests(
            self.phase[mask],
            self.user[mask],
            self.latency_ms[mask],
            self.lateness_ns[mask],
            self.done_ns[mask],
            self.status[mask],
            self.is_expected[mask],
            self.rows[mask],
        )

    def of_phases(self, phases: Sequence[str], user: str = EVERYBODY) -> "Requests":
        """Those of some phases, of everybody or of one class of users."""
        mask = np.isin(self.phase, list(phases))
        return self.chosen(mask if user == EVERYBODY else mask & (self.user == user))

    def __len__(self) -> int:
        """How many."""
        return len(self.status)


def percentile(values: npt.NDArray[np.float64], share: float) -> float:
    """The least value that at most 1 - share of all exceed; nan of nothing."""
    ordered = np.sort(values)
    return float(ordered[math.ceil(share * len(ordered)) - 1]) if len(ordered) else math.nan


def _share(mask: npt.NDArray[np.bool_]) -> float:
    return float(mask.mean()) if len(mask) else math.nan


MEASURES: Mapping[str, Callable[[Requests, float], float]] = {
    "p50_ms": lambda requests, seconds: percentile(requests.latency_ms, 0.5),
    "p99_ms": lambda requests, seconds: percentile(requests.latency_ms, 0.99),
    "unexpected_share": lambda requests, seconds: _share(~requests.is_expected),
    "unavailable_share": lambda requests, seconds: _share(requests.status == _UNAVAILABLE),
    "answers_per_second": lambda requests, seconds: float(np.count_nonzero(requests.status == 200)) / seconds,
}
"""Each of the requests that were due in so many seconds. `ratio_of_rates` is of two sets of phases, see `measured`."""


def measured(history: History, requests: Requests, threshold: Mapping[str, Any]) -> tuple[float, int]:
    """What a threshold is about, and of how many requests.

    Raises:
        KeyError: there is no such measure or phase.
    """
    chosen = requests.of_phases(threshold["phases"], threshold["users"])
    if threshold["measure"] != RATIO_OF_RATES:
        return MEASURES[threshold["measure"]](chosen, _seconds(history, threshold["phases"])), len(chosen)
    others = requests.of_phases(threshold["compared_with"], threshold["users"])
    rate = MEASURES["answers_per_second"]
    base = rate(others, _seconds(history, threshold["compared_with"]))
    ratio = rate(chosen, _seconds(history, threshold["phases"])) / base if base else math.nan
    return ratio, min(len(chosen), len(others))


def check(history: History) -> Verdict:
    """The verdict on a history of a load; samples are the requests."""
    requests = Requests.of(history)
    findings = [
        *_thresholds(history, requests),
        *_not_offered(history, requests),
        *_generator_late(requests),
        *_not_watched(history),
        *_nothing_found(requests),
    ]
    count = len(history.header.parameters["thresholds"])
    return conclude(len(requests), findings, f"{count} thresholds hold over {len(requests)} requests")


def described(threshold: Mapping[str, Any], value: float) -> str:
    """A threshold in words, with what was measured."""
    bounds = [f"{words} {threshold[name]:g}" for name, words in _BOUNDS.items() if name in threshold]
    who = "" if threshold["users"] == EVERYBODY else f" of {threshold['users']}"
    where = ", ".join(threshold["phases"])
    return f"{threshold['measure']}{who} in {where} is {value:.4g}, must be {' and '.join(bounds)}"


_BOUNDS = {"at_least": "at least", "at_most": "at most"}


def _thresholds(history: History, requests: Requests) -> Iterator[Finding]:
    is_late = is_generator_late(requests)
    for threshold in history.header.parameters["thresholds"]:
        value, samples = measured(history, requests, threshold)
        if is_late and threshold["measure"].endswith("_ms"):
            # A generator that is itself short of the processor makes latencies of its own.
            continue
        if samples < int(threshold["minimum_samples"]):
            yield doubt(
                "too_few_samples",
                f"{described(threshold, value)}: {samples} of {threshold['minimum_samples']} requests",
            )
        elif not threshold.get("at_least", -math.inf) <= value <= threshold.get("at_most", math.inf):
            yield Finding("broken", described(threshold, value), samples)


def _seconds(history: History, phases: Sequence[str]) -> float:
    lengths = {phase["name"]: float(phase["seconds"]) for phase in history.header.parameters["phases"]}
    return sum(lengths[name] for name in phases)


def _not_offered(history: History, requests: Requests) -> Iterator[Finding]:
    for phase in history.header.parameters["phases"]:
        planned = phase["requests_per_second"] * phase["seconds"]
        due = len(requests.of_phases([phase["name"]]))
        fewest = max(1.0, planned - _DEVIATIONS * math.sqrt(planned))
        if due < fewest:
            yield doubt("not_offered", f"{due} requests were due in {phase['name']}, planned were {planned:g}")


def is_generator_late(requests: Requests) -> bool:
    """Whether too many requests were sent late although their users were idle: then latencies say nothing."""
    return _late(requests) > _MOST_LATE_SHARE * len(requests)


def _late(requests: Requests) -> int:
    return int(np.count_nonzero(requests.lateness_ns > _LATE_NS))


def _generator_late(requests: Requests) -> Iterator[Finding]:
    late = _late(requests)
    if is_generator_late(requests):
        yield doubt("generator_late", f"{late} of {len(requests)} requests were sent late, and nobody waited for them")


def _not_watched(history: History) -> Iterator[Finding]:
    looks = np.array(sorted({row["wall_ns"] for row in history.rows("gauges")}), np.int64)
    if not len(looks):
        yield doubt("not_watched", "nobody looked at the gauges")
        return
    requests = Requests.of(history)
    for phase in history.header.parameters["phases"]:
        done = requests.of_phases([phase["name"]]).done_ns
        if len(done) and not np.any((looks >= done.min() - SECOND_NS) & (looks <= done.max() + SECOND_NS)):
            yield doubt("not_watched", f"nobody looked at the gauges in {phase['name']}")


def _nothing_found(requests: Requests) -> Iterator[Finding]:
    for user in sorted(set(requests.user)):
        answered = requests.chosen((requests.user == user) & (requests.status == 200))
        if len(answered) and not answered.rows.any():
            yield doubt("nothing_found", f"no answer to {user} had a row", len(answered))
