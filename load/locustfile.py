"""Users of the API. `locust -f load/` starts an API with data of its own; --host names another one.

    PointQuery       one instrument at one moment: a second of it, 10 rows at most
    WindowQuery      one instrument, ten seconds
    WideQuery        everything of one exchange, a page of 10,000 rows
    BulkBody         a bulk request just under the body limit (10 MiB), which is answered
    OversizeBody     one just over it, which is refused with 413
    PoolExhaustion   wide queries of users who take 503 POOL_EXHAUSTED for an answer, if it says when to come again

Each asks as load/_arrivals.py says: once a second by itself, or as the phases of a profile (--load-profile) have it.
What Locust shows as response time is from when a request was due.
"""

import logging
import random
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gevent  # type: ignore[import-untyped]
import orjson
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, Runner, WorkerRunner

from conformance.drivers import http
from conformance.drivers.load_profile import FOLDER, Phase, Run, read_profile
from load._arrivals import Arrivals, Due
from load._platform import OwnPlatform
from load._record import Record
from load._targets import Target, find_targets

ALONE = Phase("by hand", 7 * 86_400.0, 1.0)
RECORDS = 20_000
MOST_TARGETS = 8
BODY_LIMIT_BYTES = 10 * 1024 * 1024
ANSWER_SECONDS = 60.0
GRACE_SECONDS = 5.0
OK, TOO_LARGE, UNAVAILABLE = 200, 413, 503
_log = logging.getLogger(__name__)


class Asker(FastHttpUser):
    """What all users share: when they ask, and what is kept of it."""

    abstract = True
    connection_timeout = ANSWER_SECONDS
    network_timeout = ANSWER_SECONDS
    expected: ClassVar[tuple[int, ...]] = (OK,)
    # Each user is another one, and the same again in the next run.
    _made: ClassVar[int] = 0

    def on_start(self) -> None:
        """Get ready; the clock of the phases runs already."""
        type(self)._made += 1
        self.chance = random.Random(f"{type(self).__name__} {type(self)._made}")
        plan: Plan = PLANS[self.environment]
        plan.users_at_work += 1
        self.targets = plan.targets
        self.arrivals = plan.arrivals(self.chance)
        self.idle_since_ns = time.time_ns()
        self._due = self.arrivals.next(self.idle_since_ns)

    def wait_time(self) -> float:
        """Seconds until the next request is due, if it is not overdue already."""
        if self._due is None:
            PLANS[self.environment].users_at_work -= 1
            raise StopUser
        return max(0.0, (self._due.at_ns - time.time_ns()) / 1e9)

    @task
    def ask_when_due(self) -> None:
        """One request, when it is due, and a line about it."""
        due = self._due
        if due is None or due.at_ns > time.time_ns():
            return
        name = type(self).__name__
        sent_ns = time.time_ns()
        with self.send() as answer:
            done_ns = time.time_ns()
            code, rows = _code_and_rows(answer)
            is_expected = self.accepts(answer.status_code or 0, code, answer.headers or {})
            answer.request_meta["response_time"] = (done_ns - due.at_ns) / 1e6
            if is_expected:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} {code}")
        PLANS[self.environment].keep(
            name, due, sent_ns, done_ns, self.idle_since_ns, answer.status_code, is_expected, code, rows
        )
        self.idle_since_ns = time.time_ns()
        self._due = self.arrivals.next(self.idle_since_ns)

    def send(self) -> Any:
        """Ask; the answer as a context manager of Locust's."""
        raise NotImplementedError

    def accepts(self, status: int, code: str, headers: Any) -> bool:
        """Whether this user may be answered so."""
        return status in self.expected

    def get(self, parameters: dict[str, Any]) -> Any:
        """Ask for trades."""
        return self.client.get("/v1/trades", params=parameters, name=type(self).__name__, catch_response=True)

    def post(self, size_bytes: int) -> Any:
        """Ask for trades in a body of exactly that size; what it lacks is made up for with white space."""
        queries = [{**self.target.instrument, "limit": 100} for _ in range(10)]
        body = orjson.dumps({"queries": queries}).ljust(size_bytes)
        return self.client.post(
            "/v1/trades/query",
            data=body,  # type: ignore[arg-type]
            headers={"Content-Type": "application/json"},
            name=type(self).__name__,
            catch_response=True,
        )

    @property
    def target(self) -> Target:
        """One of the instruments."""
        return self.chance.choice(self.targets)


class PointQuery(Asker):
    """One instrument at one moment."""

    weight = 6

    def send(self) -> Any:
        """A second of it, 10 rows at most."""
        return self.get({**self.target.window(1.0, self.chance), "limit": 10})


class WindowQuery(Asker):
    """One instrument for ten seconds."""

    weight = 3

    def send(self) -> Any:
        """All its rows."""
        return self.get({**self.target.window(10.0, self.chance), "limit": 10_000})


class WideQuery(Asker):
    """Everything of one exchange."""

    weight = 1

    def send(self) -> Any:
        """A page of the longest."""
        return self.get({"exchange": self.target.exchange, "limit": 10_000})


class BulkBody(Asker):
    """Bodies just under the limit."""

    weight = 1

    def send(self) -> Any:
        """Exactly the limit is let through."""
        return self.post(BODY_LIMIT_BYTES)


class OversizeBody(Asker):
    """Bodies just over the limit."""

    weight = 1
    expected = (TOO_LARGE,)

    def send(self) -> Any:
        """One byte more."""
        return self.post(BODY_LIMIT_BYTES + 1)


class PoolExhaustion(WideQuery):
    """Users who know that there are more of them than connections."""

    def accepts(self, status: int, code: str, headers: Any) -> bool:
        """An answer, or being told when to come again."""
        return status == OK or (status == UNAVAILABLE and "Retry-After" in headers)


class Plan:
    """What the users of one process share: the run, its beginning, the record and the targets."""

    def __init__(self, options: Namespace) -> None:
        self._run = _chosen_run(options)
        self._record = Record(Path(options.record)) if options.record else None
        self.targets: Sequence[Target] = ()
        self._began_ns = 0
        self.users_at_work = 0

    @property
    def seconds(self) -> float:
        """How long all phases take."""
        return self._run.seconds

    def begin(self, host: str) -> None:
        """Find out what there is to ask for, then let the first phase begin."""

        def ask(path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
            answer = http.get(host.rstrip("/") + path, parameters)
            if answer.status != OK:
                raise LookupError(f"{host}{path} answered {answer.status}: is it an API of K2 with trades?")
            return dict(answer.body)

        self.targets = find_targets(ask, MOST_TARGETS)
        self._began_ns = time.time_ns()

    def arrivals(self, chance: random.Random) -> Arrivals:
        """The requests of one more user."""
        return Arrivals(
            self._run.phases, max(1, sum(self._run.users.values())), self._began_ns or time.time_ns(), chance
        )

    def keep(
        self,
        user: str,
        due: Due,
        sent_ns: int,
        done_ns: int,
        free_ns: int,
        status: int | None,
        is_expected: bool,
        code: str,
        rows: int,
    ) -> None:
        """One request is over."""
        if self._record is not None:
            self._record.add(
                {
                    "phase": due.phase,
                    "user": user,
                    "due_ns": due.at_ns,
                    "sent_ns": sent_ns,
                    "done_ns": done_ns,
                    "free_ns": free_ns,
                    "status": status or 0,
                    "is_expected": is_expected,
                    "code": code,
                    "rows": rows,
                }
            )

    def close(self) -> None:
        """Write what is left of the record."""
        if self._record is not None:
            self._record.close()


PLANS: dict[Environment, Plan] = {}
"""What belongs to each of Locust's environments; there is one in a process, unless somebody makes more."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    """What a run is told beside Locust's own options; workers are told it by their master."""
    parser.add_argument("--load-profile", default="", help=f"run this profile's phases; there are those of {FOLDER}")
    parser.add_argument("--load-run", type=int, default=0, help="which run of the profile, counted from 0")
    parser.add_argument("--record", default="", help="keep each request on a line of files whose names begin so")


@events.init.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Environment, **_: Any) -> None:
    """An API where none was named; users, rate and length as the profile has them."""
    options = environment.parsed_options
    assert options is not None
    PLANS[environment] = Plan(options)
    if options.load_profile:
        _follow(environment, options, _chosen_run(options))
    if not environment.host and not isinstance(environment.runner, WorkerRunner):
        _log.info("no --host was given: starting an API over %s trades ...", f"{RECORDS:,}")
        platform = OwnPlatform(RECORDS)
        environment.host = platform.url
        _log.info("the API is at %s", platform.url)
        environment.events.quitting.add_listener(lambda **_: platform.stop())  # type: ignore[no-untyped-call]


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, **_: Any) -> None:
    """The clock of the phases starts; when they are over, so is the run."""
    plan, runner, options = PLANS[environment], environment.runner, environment.parsed_options
    plan.begin(environment.host or "")
    if options is not None and options.load_profile and runner is not None and not isinstance(runner, WorkerRunner):
        gevent.spawn(_quit_when_all_are_answered, runner, plan)


def _quit_when_all_are_answered(runner: Runner, plan: Plan) -> None:
    """What was due in the last phase is still asked and answered, or the last phase would look better than it was."""
    gevent.sleep(plan.seconds)
    # A master has no users of its own; its workers' have some time.
    patience_seconds = GRACE_SECONDS if isinstance(runner, MasterRunner) else ANSWER_SECONDS
    give_up_at = time.monotonic() + patience_seconds
    while (plan.users_at_work or isinstance(runner, MasterRunner)) and time.monotonic() < give_up_at:
        gevent.sleep(0.1)
    runner.quit()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def finish(environment: Environment, **_: Any) -> None:
    """Nothing of the record is left behind."""
    PLANS[environment].close()


def _chosen_run(options: Namespace) -> Run:
    if not options.load_profile:
        return Run({"one by one": 1}, (ALONE,))
    runs: Sequence[Run] = read_profile(FOLDER / f"{options.load_profile}.toml").runs
    return runs[int(options.load_run)]


def _follow(environment: Environment, options: Namespace, run: Run) -> None:
    """Exactly the users of the run, for as long as its phases take."""
    for user_class in environment.user_classes:
        user_class.fixed_count = run.users.get(user_class.__name__, 0)
        user_class.weight = 0
    environment.user_classes = [one for one in environment.user_classes if one.__name__ in run.users]
    options.num_users = options.num_users or sum(run.users.values())
    options.spawn_rate = options.spawn_rate or 1_000.0
    options.stop_timeout = options.stop_timeout or ANSWER_SECONDS


def _code_and_rows(answer: Any) -> tuple[str, int]:
    """The code of an error, and how many rows there are in an answer."""
    try:
        # Other users wait meanwhile, and the standard library takes five times as long for thousands of rows.
        document = orjson.loads(answer.content or b"")
    except ValueError:
        return ("" if answer.status_code else type(answer.error).__name__), 0
    if "error" in document:
        return str(document["error"]["code"]), 0
    found = document.get("data", document.get("results", []))
    return "", len(found)
