"""The levels: bands that do not flap, one change in each hold time, up at once and down step by step."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.resilience.degradation import Degradation, Level, LevelReport, Threshold
from tests.resilience.manual_clock import ManualClock

NOMINAL, DEGRADED, CRITICAL, SHUTDOWN = Level
HOLD_SECONDS = 10.0
THRESHOLDS = (
    Threshold("lag", DEGRADED, 100, 50),
    Threshold("lag", CRITICAL, 1_000, 400),
    Threshold("memory", DEGRADED, 0.8, 0.7),
    Threshold("memory", SHUTDOWN, 0.95, 0.85),
)


class Stage:
    """A machine with its clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.machine = Degradation(THRESHOLDS, HOLD_SECONDS, self.clock)

    def step(self, seconds: float = 0.0, **values: float) -> LevelReport:
        self.clock.advance(seconds)
        return self.machine.step(values)

    def levels(self, *lags: float, every_seconds: float = HOLD_SECONDS) -> list[Level]:
        return [self.step(every_seconds, lag=lag).level for lag in lags]


def test_a_level_is_entered_at_its_upper_number_and_left_at_its_lower_one() -> None:
    assert Stage().levels(99.9, 100, 51, 99, 50, 99) == [NOMINAL, DEGRADED, DEGRADED, DEGRADED, NOMINAL, NOMINAL]


def test_up_goes_at_once_and_down_step_by_step() -> None:
    stage = Stage()
    assert stage.step(memory=0.96).level is SHUTDOWN
    assert [stage.step(HOLD_SECONDS, memory=0.1).level for _ in range(4)] == [CRITICAL, DEGRADED, NOMINAL, NOMINAL]


def test_the_most_severe_demand_wins_and_a_lesser_one_stops_the_fall() -> None:
    stage = Stage()
    assert stage.step(lag=120, memory=0.96).level is SHUTDOWN
    falling = [stage.step(HOLD_SECONDS, lag=120, memory=0.1).level for _ in range(3)]
    assert falling == [CRITICAL, DEGRADED, DEGRADED]


def test_a_level_is_held_in_both_directions() -> None:
    stage = Stage()
    assert stage.step(lag=100).level is DEGRADED
    assert stage.step(9.9, lag=2_000).level is DEGRADED
    assert stage.step(0.1, lag=2_000).level is CRITICAL
    assert stage.step(9.9, lag=0).level is CRITICAL
    assert stage.step(0.1, lag=0).level is DEGRADED


def test_a_signal_that_cannot_be_read_leaves_its_demands_as_they_are() -> None:
    stage = Stage()
    assert stage.step(lag=100).level is DEGRADED
    report = stage.step(HOLD_SECONDS)
    assert report == LevelReport(DEGRADED, ("lag cannot be read: DEGRADED from 100 on, until 50",))
    assert stage.step(HOLD_SECONDS, lag=10).level is NOMINAL


def test_the_reasons_say_what_demands_the_level_and_what_holds_it() -> None:
    stage = Stage()
    assert stage.step(lag=12).reasons == ()
    assert stage.step(lag=1_200, memory=0.85).reasons == ("lag is 1200: CRITICAL from 1000 on, until 400",)
    falling = stage.step(HOLD_SECONDS / 2, lag=300, memory=0.5)
    assert falling == LevelReport(
        CRITICAL, ("lag is 300: DEGRADED from 100 on, until 50", "held: it falls one level every 10 s")
    )
    assert stage.step(HOLD_SECONDS, lag=300).reasons == ("lag is 300: DEGRADED from 100 on, until 50",)
    assert stage.step(HOLD_SECONDS, lag=0).reasons == ()


STEPS = st.lists(
    st.tuples(st.floats(0, 25), st.one_of(st.none(), st.floats(0, 2_000)), st.one_of(st.none(), st.floats(0.5, 1.0))),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_there_is_at_most_one_change_in_a_hold_time(steps: list[tuple[float, float | None, float | None]]) -> None:
    stage = Stage()
    level, changed_at = NOMINAL, list[int]()
    for seconds, lag, memory in steps:
        values = {name: value for name, value in (("lag", lag), ("memory", memory)) if value is not None}
        report = stage.step(seconds, **values)
        if report.level is not level:
            changed_at.append(stage.clock.now_ns)
            assert report.level > level or report.level == level - 1
            level = report.level
        assert bool(report.reasons) is (level is not NOMINAL)
    assert all(later - earlier >= HOLD_SECONDS * 1e9 for earlier, later in pairwise(changed_at))


@given(st.lists(st.floats(50.001, 99.999), min_size=1, max_size=60), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_signal_that_swings_inside_its_band_changes_nothing(lags: list[float], begins_above: bool) -> None:
    stage = Stage()
    before = stage.step(lag=100 if begins_above else 0).level
    assert set(stage.levels(*lags)) == {before}


@given(STEPS, st.floats(0, 2_000), st.floats(0.5, 1.0))
@settings(max_examples=100, deadline=None)
def test_signals_that_stand_still_lead_to_the_level_they_demand_and_no_further(
    steps: list[tuple[float, float | None, float | None]], lag: float, memory: float
) -> None:
    """Whatever came before: signals outside their bands decide alone."""
    stage = Stage()
    for seconds, before_lag, before_memory in steps:
        stage.step(seconds, lag=before_lag or 0.0, memory=before_memory or 0.0)
    low, high = NOMINAL, NOMINAL
    for threshold in THRESHOLDS:
        value = {"lag": lag, "memory": memory}[threshold.signal]
        low = max(low, threshold.level) if value >= threshold.enter else low
        high = max(high, threshold.level) if value > threshold.leave else high
    for _ in range(len(Level)):
        settled = stage.step(HOLD_SECONDS, lag=lag, memory=memory).level
    assert low <= settled <= high
    assert stage.step(HOLD_SECONDS, lag=lag, memory=memory).level is settled
