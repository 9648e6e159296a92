"""The synthetic exchange: the same from the same settings, and true to what it says it planted."""

from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from itertools import islice, pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import UsageError
from k2.feeds.bad_records import DEFECTS
from k2.feeds.feed import FeedRecord
from k2.feeds.planted import MissingRange, PlantedKey
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.feeds.synthetic_markets import MARKETS

Key = tuple[str, str, str]
FAULTY = SyntheticSettings(
    seed=7,
    symbols=("BTCUSDT", "BTTCUSDT"),
    records=30_000,
    sequenced_quotes=True,
    gap_rate=0.01,
    duplicate_rate=0.01,
    reorder_rate=0.01,
    reset_every=1_500,
    largest_gap=300,
    largest_delay=200,
)


class Ruling:
    """The ruling on sequences for one key, number by number, as plainly as it can be said."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.missing: set[int] = set()

    def judge(self, number: int) -> str:
        if self.last is None:
            self.last = number
            return "IN_ORDER"
        if number > self.last:
            skipped = range(self.last + 1, number)
            self.missing.update(skipped)
            self.last = number
            return "GAP" if skipped else "IN_ORDER"
        if number in self.missing:
            self.missing.remove(number)
            return "OUT_OF_ORDER"
        if number <= 10 and self.last - number >= 1_000:
            self.last = number
            self.missing.clear()
            return "SESSION_RESET"
        return "DUPLICATE" if self.last - number < 128 else "TOO_OLD"


def by_key(records: list[FeedRecord]) -> dict[Key, list[FeedRecord]]:
    keys: dict[Key, list[FeedRecord]] = defaultdict(list)
    for record in records:
        keys[record.data_type, record.exchange, record.record["symbol"]].append(record)
    return dict(keys)


def numbers_of(key: PlantedKey, records: dict[Key, list[FeedRecord]]) -> list[int]:
    return [record.record["source_sequence"] for record in records[key.data_type, key.exchange, key.symbol]]


def contents(records: list[FeedRecord]) -> list[dict[str, object]]:
    """Records without their place in the session and the time of receipt."""
    placed = ("session_sequence", "receive_time_ns")
    return [{name: value for name, value in record.record.items() if name not in placed} for record in records]


def as_bytes(chosen: SyntheticSettings) -> bytes:
    return orjson.dumps(list(SyntheticExchange(chosen)))


fault_settings = st.builds(
    SyntheticSettings,
    seed=st.integers(0, 2**63 - 1),
    symbols=st.sampled_from([("BTCUSDT",), ("BTCUSDT", "ETHUSDT", "OTHER")]),
    records=st.integers(0, 4_000),
    sequenced_quotes=st.booleans(),
    trade_share=st.sampled_from([0.1, 0.5, 1.0]),
    gap_rate=st.floats(0, 0.3),
    duplicate_rate=st.floats(0, 0.3),
    reorder_rate=st.floats(0, 0.3),
    largest_gap=st.integers(1, 3_000),
    largest_delay=st.integers(1, 300),
    reset_every=st.sampled_from([0, 1_001, 1_500]),
)


@settings(deadline=None, max_examples=40)
@given(fault_settings)
def test_the_ruling_finds_exactly_the_events_and_the_missing_numbers_that_were_planted(
    chosen: SyntheticSettings,
) -> None:
    exchange = SyntheticExchange(chosen)
    records = by_key(list(exchange))
    truth = exchange.truth()
    assert {(key.data_type, key.exchange, key.symbol) for key in truth.keys} == set(records)
    for key in truth.keys:
        if key.data_type == "quotes" and not chosen.sequenced_quotes:
            assert set(numbers_of(key, records)) == {None}
            assert set(key.events) == {None}
            continue
        ruling = Ruling()
        assert tuple(ruling.judge(number) for number in numbers_of(key, records)) == key.events
        open_numbers = [number for gap in key.open_ranges for number in range(gap.first, gap.last + 1)]
        assert sorted(open_numbers) == sorted(ruling.missing)
        assert len(open_numbers) == len(ruling.missing)


def test_all_faults_occur_and_their_counts_are_those_of_the_events() -> None:
    truth = SyntheticExchange(FAULTY).truth()
    events = Counter(event for key in truth.keys for event in key.events)
    assert min(truth.faults.values()) > 5
    assert events["DUPLICATE"] == truth.faults["duplicates"]
    assert events["OUT_OF_ORDER"] == truth.faults["reorderings"]
    assert events["SESSION_RESET"] == truth.faults["resets"]
    assert events["GAP"] == truth.faults["gaps"] + truth.faults["reorderings"]
    assert truth.faults["gaps"] == sum(len(key.missing) for key in truth.keys)
    assert events["TOO_OLD"] == 0


def test_missing_numbers_never_arrive_in_their_numbering() -> None:
    exchange = SyntheticExchange(FAULTY)
    records = by_key(list(exchange))
    for key in exchange.truth().keys:
        numbering = 1
        sent: dict[int, set[int]] = defaultdict(set)
        for number, event in zip(numbers_of(key, records), key.events, strict=True):
            numbering += event == "SESSION_RESET"
            sent[numbering].add(number)
        missing: dict[int, set[int]] = defaultdict(set)
        for gap in key.missing:
            missing[gap.numbering].update(range(gap.first, gap.last + 1))
        assert numbering > 1
        for one in range(1, numbering + 1):
            assert not sent[one] & missing[one]
            assert sent[one] | missing[one] == set(range(1, max(sent[one] | missing[one]) + 1))


def test_a_duplicate_is_the_same_record_received_again_later() -> None:
    exchange = SyntheticExchange(FAULTY)
    records = by_key(list(exchange))
    duplicates = 0
    for key in exchange.truth().keys:
        own = records[key.data_type, key.exchange, key.symbol]
        own_contents = contents(own)
        for position, event in enumerate(key.events):
            if event == "DUPLICATE":
                duplicates += 1
                original = max(at for at in range(position) if own_contents[at] == own_contents[position])
                assert own[original].record["receive_time_ns"] < own[position].record["receive_time_ns"]
    assert duplicates > 100


def test_a_late_record_happened_before_those_that_overtook_it() -> None:
    exchange = SyntheticExchange(replace(FAULTY, symbols=("BTCUSDT",), trade_share=1.0))
    records = list(exchange)
    (key,) = exchange.truth().keys
    late = [position for position, event in enumerate(key.events) if event == "OUT_OF_ORDER"]
    delays = []
    for position in late:
        number = records[position].record["source_sequence"]
        overtaker = max(at for at in range(position) if records[at].record["source_sequence"] == number + 1)
        delays.append(position - overtaker)
        assert records[position].record["event_time_ns"] <= records[overtaker].record["event_time_ns"] + 3_000_000
    assert min(delays) < 20
    assert 128 < max(delays) <= FAULTY.largest_delay


def test_a_record_held_back_at_the_end_is_counted_as_missing() -> None:
    chosen = SyntheticSettings(symbols=("BTCUSDT",), trade_share=1.0, reorder_rate=1.0, gap_rate=0, duplicate_rate=0)
    (key,) = SyntheticExchange(replace(chosen, records=2)).truth().keys
    assert key.events == ("IN_ORDER", "GAP")
    assert key.missing == key.open_ranges == (MissingRange(1, 2, 2),)


def test_equal_settings_give_equal_bytes_and_other_seeds_give_others() -> None:
    first = as_bytes(replace(FAULTY, records=5_000))
    assert first == as_bytes(replace(FAULTY, records=5_000))
    assert first != as_bytes(replace(FAULTY, records=5_000, seed=8))


def test_the_bytes_of_a_seed_never_change() -> None:
    assert sha256(as_bytes(SyntheticSettings())).hexdigest()[:16] == "383d56cff0c3a37f"


def test_the_session_stands_for_the_settings() -> None:
    def session(**changes: float) -> str:
        return SyntheticExchange(replace(SyntheticSettings(), **changes)).session  # type: ignore[arg-type]

    assert session(gap_rate=0) == session(gap_rate=0.0)
    assert len({session(), session(seed=2), session(records=5), session(gap_rate=0.5), session(bad_rate=0.5)}) == 5


def test_iterating_changes_neither_the_next_iteration_nor_the_truth() -> None:
    exchange = SyntheticExchange(FAULTY)
    before = exchange.truth()
    first = list(islice(exchange, 500))
    assert list(islice(exchange, 500)) == first
    assert exchange.truth() == before


def test_the_run_has_as_many_records_as_asked_for() -> None:
    assert len(list(SyntheticExchange(replace(FAULTY, records=1_234)))) == 1_234
    assert list(SyntheticExchange(replace(FAULTY, records=0))) == []
    assert SyntheticExchange(replace(FAULTY, records=0)).truth().keys == ()


def test_an_exchange_without_an_end_goes_on_like_one_with_an_end_and_has_no_truth() -> None:
    endless = SyntheticExchange(replace(FAULTY, records=None))
    assert contents(list(islice(endless, 1_000))) == [
        {**content, "session": endless.session}
        for content in contents(list(SyntheticExchange(replace(FAULTY, records=1_000))))
    ]
    with pytest.raises(UsageError, match="truth needs an end"):
        endless.truth()


def test_receive_times_rise_at_the_rate_asked_for() -> None:
    chosen = replace(FAULTY, records=20_000, rate_per_second=500)
    times = [record.record["receive_time_ns"] for record in SyntheticExchange(chosen)]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert times[0] > chosen.start_time_ns
    seconds = (times[-1] - chosen.start_time_ns) / 1e9
    assert seconds == pytest.approx(40, rel=0.02)


def test_each_symbol_has_one_clock_skew_within_its_bound() -> None:
    chosen = SyntheticSettings(symbols=tuple(f"S{n}" for n in range(40)), records=20_000, largest_clock_skew_ms=2_000)
    exchange = SyntheticExchange(replace(chosen, gap_rate=0, duplicate_rate=0, reorder_rate=0))
    skews = {(key.data_type, key.symbol): key.clock_skew_ns for key in exchange.truth().keys}
    assert len(set(skews.values())) == 40
    assert all(abs(skew) <= 2_000_000_000 for skew in skews.values())
    assert min(skews.values()) < -1_000_000_000 < 1_000_000_000 < max(skews.values())
    for record in exchange:
        ahead_ns = record.record["event_time_ns"] - record.record["receive_time_ns"]
        transit_ns = skews[record.data_type, record.record["symbol"]] - ahead_ns
        assert 200_000 <= transit_ns <= 3_000_000 + 1_000_000


def test_prices_walk_on_the_tick_grid_and_fit_the_decimal_of_the_records() -> None:
    values = defaultdict(list)
    for record in SyntheticExchange(SyntheticSettings(records=20_000, one_sided_rate=0.05)):
        for name in ("price", "quantity", "bid_price", "bid_quantity", "ask_price", "ask_quantity"):
            if record.record.get(name) is not None:
                values[record.record["symbol"], name].append(Decimal(record.record[name]))
    for numbers in values.values():
        assert all(0 < number < 10**18 and number == round(number, 10) for number in numbers)
    prices = values["BTCUSDT", "price"]
    assert 0 < max(abs(later - earlier) for earlier, later in pairwise(prices)) < 1
    assert max(values["BTTCUSDT", "quantity"]) > 10**11
    assert min(values["BTTCUSDT", "price"]) < Decimal("0.000001")


def test_quotes_are_never_crossed_and_some_lack_a_side() -> None:
    missing = Counter[str]()
    for record in SyntheticExchange(SyntheticSettings(records=10_000, trade_share=0, one_sided_rate=0.1)):
        quote = record.record
        for side in ("bid", "ask"):
            missing[side] += quote[f"{side}_price"] is None
            assert (quote[f"{side}_price"] is None) == (quote[f"{side}_quantity"] is None)
        if None not in (quote["bid_price"], quote["ask_price"]):
            assert Decimal(quote["bid_price"]) < Decimal(quote["ask_price"])
    assert 400 < missing["bid"] < 600
    assert 400 < missing["ask"] < 600


def test_quotes_without_numbers_have_an_id_that_jumps() -> None:
    quotes = list(SyntheticExchange(SyntheticSettings(symbols=("BTCUSDT",), trade_share=0, records=500)))
    identifiers = [int(quote.record["quote_id"]) for quote in quotes]
    steps = {later - earlier for earlier, later in pairwise(identifiers)}
    assert min(steps) >= 1
    assert len(steps) > 20


def test_equities_of_another_exchange_come_from_the_same_source() -> None:
    chosen = SyntheticSettings(symbols=("BHP", "RIO"), exchange="ASX", asset_class="equities", records=100)
    records = list(SyntheticExchange(chosen))
    assert {(record.exchange, record.asset_class) for record in records} == {("ASX", "equities")}
    assert {record.record["symbol"] for record in records} == {"BHP", "RIO"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_can_be_asked_for_alone(defect: str) -> None:
    exchange = SyntheticExchange(SyntheticSettings(records=400, bad_rate=0.2, defects=(defect,)))
    found = [(item, planted) for item, planted in exchange.planted() if planted.defect]
    assert len(found) > 20
    assert {planted.defect for _, planted in found} == {defect}
    assert {item.record["source_sequence"] for item, _ in found} == {None}
    assert {planted.event for _, planted in found} == {None}


def test_bad_records_do_not_disturb_the_numbers_of_good_ones() -> None:
    chosen = replace(FAULTY, records=10_000, bad_rate=0.1)
    exchange = SyntheticExchange(chosen)
    good = [item for item, planted in exchange.planted() if not planted.defect]
    assert 8_500 < len(good) < 9_500
    truth = {(key.data_type, key.exchange, key.symbol): key for key in exchange.truth().keys}
    for name, records in by_key(good).items():
        ruling = Ruling()
        judged = [ruling.judge(number) for number in numbers_of(truth[name], by_key(good))]
        assert judged == [event for event in truth[name].events if event is not None]
        assert len(records) == len(judged)


def test_every_possible_defect_comes_in_turn() -> None:
    exchange = SyntheticExchange(SyntheticSettings(records=2_000, bad_rate=0.1, defects=tuple(DEFECTS)))
    counts = Counter((item.data_type, planted.defect) for item, planted in exchange.planted() if planted.defect)
    possible = {(kind, name) for name, one in DEFECTS.items() for kind in ("trades", "quotes") if one.change(kind)}
    assert set(counts) == possible
    for data_type in ("trades", "quotes"):
        own = [count for (kind, _), count in counts.items() if kind == data_type]
        assert max(own) - min(own) <= 1


def test_reference_data_introduces_each_symbol_and_nothing_else_changes() -> None:
    chosen = SyntheticSettings(symbols=("BHP", "RIO", "XYZ"), exchange="ASX", asset_class="equities", records=50)
    introduced = list(SyntheticExchange(replace(chosen, reference_data=True, records=53)))
    assert [item.data_type for item in introduced[:3]] == ["reference_data"] * 3
    described = {item.record["symbol"]: item.record for item in introduced[:3]}
    assert (described["BHP"]["isin"], described["BHP"]["tick_size"]) == ("AU000000BHP4", "0.001")
    assert (described["XYZ"]["name"], described["XYZ"]["isin"]) == ("XYZ", None)
    changed = ("session", "receive_time_ns", "event_time_ns", "vendor_data")
    plain, after = (
        [{name: value for name, value in item.record.items() if name not in changed} for item in items]
        for items in (SyntheticExchange(chosen), introduced[3:])
    )
    assert plain == after


def test_venues_and_conditions_are_drawn_from_those_given() -> None:
    records = [item.record for item in SyntheticExchange(replace(MARKETS["asx"], records=2_000))]
    assert {record["venue"] for record in records} == {"ASX", "CXA"}
    assert {record["conditions"] for record in records} == {None, "XT", "CX"}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"seed": -1}, "seed"),
        ({"symbols": ()}, "symbols"),
        ({"symbols": ("A", "A")}, "symbols"),
        ({"records": -1}, "records"),
        ({"start_time_ns": 1_723_161_600}, "start_time_ns"),
        ({"rate_per_second": 0}, "rate_per_second"),
        ({"trade_share": 1.5}, "shares"),
        ({"one_sided_rate": -0.1}, "shares"),
        ({"gap_rate": -0.1}, "fault rates"),
        ({"gap_rate": 0.5, "duplicate_rate": 0.5, "reorder_rate": 0.1}, "fault rates"),
        ({"largest_gap": 0}, "largest_gap"),
        ({"largest_delay": 0}, "largest_delay"),
        ({"reset_every": 1_000}, "reset_every"),
        ({"largest_clock_skew_ms": -1}, "largest_clock_skew_ms"),
        ({"bad_rate": 1.5}, "bad_rate"),
        ({"defects": ("sadness",)}, "defects"),
        ({"defects": ()}, "defects"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(changes: dict[str, object], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        replace(SyntheticSettings(), **changes)  # type: ignore[arg-type]
