"""What the levels follow from: bands from the settings, windows that smooth, and a timer for what stands still."""

import pytest
from pydantic import ValidationError

from k2.resilience.degradation import Level, Threshold
from k2.resilience.signals import SIGNALS, Component, SlidingWindow, StallTimer, thresholds_of
from k2.settings import DegradationSettings, LevelBands, Settings
from tests.resilience.manual_clock import ManualClock

NOMINAL, DEGRADED, CRITICAL, SHUTDOWN = Level


def test_every_signal_has_bands_and_every_band_a_signal() -> None:
    bands = {name for name, field in DegradationSettings.model_fields.items() if field.annotation is LevelBands}
    assert {signal.name for signal in SIGNALS} == bands


def test_a_threshold_follows_from_each_band_a_component_may_reach() -> None:
    settings = DegradationSettings(
        dependency_away_seconds=LevelBands(degraded=(1, 0), shutdown=(9, 2)),
        memory_share=LevelBands(),
        pool_busy_share=LevelBands(),
        pool_rejections=LevelBands(critical=(5, 4)),
        lag_messages=LevelBands(degraded=(10, 5)),
        stall_seconds=LevelBands(),
    )
    away, rejections, lag = "dependency_away_seconds", "pool_rejections", "lag_messages"
    assert thresholds_of(Component.API, settings) == (
        Threshold(away, DEGRADED, 1, 0),
        Threshold(away, SHUTDOWN, 9, 2),
        Threshold(rejections, CRITICAL, 5, 4),
    )
    assert thresholds_of(Component.CONSUMER, settings) == (
        Threshold(away, DEGRADED, 1, 0),
        Threshold(lag, DEGRADED, 10, 5),
    )


def test_only_memory_ends_a_consumer() -> None:
    severe = {t.signal for t in thresholds_of(Component.CONSUMER, DegradationSettings()) if t.level is SHUTDOWN}
    assert severe == {"memory_share"}


def test_bands_are_set_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_DEGRADATION__LAG_MESSAGES", '{"degraded": [50, 5]}')
    assert Settings().degradation.lag_messages == LevelBands(degraded=(50, 5))


@pytest.mark.parametrize(
    ("bands", "complaint"),
    [
        ({"degraded": (1, 1)}, "must be below its first"),
        ({"degraded": (1, 2)}, "must be below its first"),
        ({"degraded": (5, 1), "critical": (4, 1)}, "less severe"),
        ({"degraded": (1, 0), "shutdown": (0.5, 0)}, "less severe"),
    ],
)
def test_bands_that_make_no_sense_are_refused(bands: dict[str, tuple[float, float]], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        LevelBands(**bands)


def test_a_window_knows_the_lowest_number_of_its_time_and_forgets_what_is_older() -> None:
    clock, numbers = ManualClock(), iter([7.0, 3.0, 9.0, 8.0, 5.0])
    window = SlidingWindow(lambda: next(numbers), 10, clock)
    seen = []
    for _ in range(5):
        seen.append(window.lowest())
        clock.advance(6)
    assert seen == [0, 0, 3, 8, 5]


def test_a_window_knows_by_how_much_a_counter_has_grown() -> None:
    clock, numbers = ManualClock(), iter([2.0, 5.0, 5.0, 5.0])
    window = SlidingWindow(lambda: next(numbers), 10, clock)
    seen = []
    for _ in range(4):
        seen.append(window.growth())
        clock.advance(6)
    assert seen == [0, 3, 0, 0]


def test_what_moves_or_waits_for_nothing_is_not_stalled() -> None:
    clock, looks = ManualClock(), iter([(5, 2), (6, 2), (6, 2), (6, 2), (6, 0), (6, 1), (7, 1)])
    timer = StallTimer(lambda: next(looks), clock)
    seen = []
    for _ in range(7):
        seen.append(timer.seconds())
        clock.advance(3)
    assert seen == [0, 0, 3, 6, 0, 3, 0]
