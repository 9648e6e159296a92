"""What the checker of slow clients must catch."""

from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes, with_parameters

_CLIENTS = {"slow_head": 30, "slow_body": 30, "idle": 30, "slow_reader": 5}
_REQUESTS = 200


def clean_slow_clients(seed: int) -> History:
    """Every slow client given up after some seconds, and a good one that is hardly slowed down."""
    random = np.random.default_rng(seed)
    clients = [
        {
            "kind": kind,
            "lived_seconds": round(float(random.uniform(4.9, 7.5)), 3),
            "pieces": 0 if kind == "idle" else int(random.integers(8, 14)),
        }
        for kind, count in _CLIENTS.items()
        for _ in range(count)
    ]
    moments: list[dict[str, Any]] = [
        _measured("alone", random.uniform(5, 9, _REQUESTS)),
        {**_measured("among", random.uniform(6, 14, _REQUESTS)), "open_connections": len(clients)},
        _measured("alone", random.uniform(5, 9, _REQUESTS)),
    ]
    events = [
        *(operation("api", "good_client", START_NS + n * SECOND_NS, one) for n, one in enumerate(moments)),
        *(operation("api", "slow_client", START_NS + (10 + n) * SECOND_NS, one) for n, one in enumerate(clients)),
    ]
    parameters = {
        "minimum_samples": len(clients),
        "limit_seconds": 10.0,
        "clients": _CLIENTS,
        "waiting_kinds": ["idle"],
        "minimum_requests": _REQUESTS,
    }
    header = Header("planted/slow_clients", (), "slow_clients", seed, "embedded", START_NS, parameters)
    return History(header, tuple(events))


def _measured(moment: str, milliseconds: "np.ndarray[Any, Any]") -> dict[str, Any]:
    return {"moment": moment, "milliseconds": [round(float(value), 3) for value in milliseconds], "statuses": [200]}


def _one_client(**changed: object) -> Plant:
    def edit(history: History) -> History:
        done = False

        def change(one: Any) -> Any:
            nonlocal done
            if done or one.attributes["kind"] == "idle":
                return one
            done = True
            return with_attributes(one, changed)

        return edit_operations(history, "slow_client", change)

    return edit


def _among(**changed: object) -> Plant:
    return lambda history: edit_operations(
        history,
        "good_client",
        lambda one: with_attributes(one, changed) if one.attributes["moment"] == "among" else one,
    )


def _slowed(history: History) -> History:
    return edit_operations(
        history,
        "good_client",
        lambda one: (
            with_attributes(one, {"milliseconds": [*one.attributes["milliseconds"][:-3], 30.0, 31.0, 32.0]})
            if one.attributes["moment"] == "among"
            else one
        ),
    )


SUITE = Suite(
    "slow_clients",
    clean_slow_clients,
    (
        Defect("one_never_closed", "outlived", _one_client(lived_seconds=None)),
        Defect("one_closed_late", "outlived", _one_client(lived_seconds=10.2)),
        Defect("good_client_slowed", "slower", _slowed),
        Defect("good_client_refused", "refused", _among(statuses=[200, 503])),
        Defect("clients_that_do_nothing", "not_slow", _one_client(pieces=1), Outcome.UNKNOWN),
        Defect("fewer_at_once", "not_at_once", _among(open_connections=60), Outcome.UNKNOWN),
        Defect("good_client_not_there", "good_client_not_measured", _among(milliseconds=[5.0]), Outcome.UNKNOWN),
        Defect(
            "kind_left_out",
            "clients_missing",
            lambda one: with_parameters(one, clients={**_CLIENTS, "silent": 1}),
            Outcome.UNKNOWN,
        ),
    ),
)
