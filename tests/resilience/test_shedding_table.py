"""The table of what each level sheds: kept, counted, and printed."""

import pytest

from k2.observability.metrics import Metrics
from k2.resilience.degradation import Level, LevelReport
from k2.resilience.shedding import BATCHES, BULK, LISTINGS, RECORD_AGE, SHEDS, Shedding
from k2.resilience.signals import SIGNALS, Component
from scripts.document_degradation import PAGE, main, page

NOMINAL, DEGRADED, CRITICAL, SHUTDOWN = Level


def shedding_at(level: Level, component: Component = Component.API, metrics: Metrics | None = None) -> Shedding:
    return Shedding(component, lambda: LevelReport(level), metrics or Metrics())


def test_work_is_shed_from_its_level_on() -> None:
    assert [shedding_at(level).sheds(BULK) for level in Level] == [False, False, True, True]
    of_consumer = [shedding_at(level, Component.CONSUMER).sheds(BATCHES) for level in Level]
    assert of_consumer == [False, False, False, True]


def test_nothing_is_shed_while_nominal_and_each_row_is_there_once() -> None:
    assert all(shed.level > NOMINAL for shed in SHEDS)
    assert len({(shed.component, shed.what) for shed in SHEDS}) == len(SHEDS)


def test_what_is_not_in_the_table_cannot_be_shed() -> None:
    with pytest.raises(KeyError):
        shedding_at(SHUTDOWN).sheds("trades")
    with pytest.raises(KeyError):
        shedding_at(SHUTDOWN, Component.CONSUMER).sheds(LISTINGS)


def test_what_is_shed_is_counted_with_its_level() -> None:
    metrics = Metrics()
    shedding = shedding_at(CRITICAL, Component.CONSUMER, metrics)
    shedding.count(RECORD_AGE)
    shedding.count(RECORD_AGE)
    assert metrics.value("k2_shed_total", {"what": RECORD_AGE, "level": "CRITICAL"}) == 2


def test_the_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run python scripts/document_degradation.py"
    assert main(["--check"]) == 0


def test_the_page_has_every_row_of_both_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for shed in SHEDS:
        assert f"| {shed.component} | {shed.level.name} | `{shed.what}` | {shed.effect} |" in text
    for signal in SIGNALS:
        for component in signal.most:
            assert f"| {component} | `{signal.name}` | {signal.meaning} |" in text


def test_a_page_without_its_sections_is_refused() -> None:
    with pytest.raises(ValueError, match="no section for signals"):
        page("# Levels\n")
