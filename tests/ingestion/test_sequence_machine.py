"""Both trackers through any history of numbers, batches, checkpoints and forgotten keys, against sets of numbers."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from k2.ingestion.sequence_batch import Key, SequenceBatchTracker
from k2.ingestion.sequence_tracker import SequenceEvent
from tests.ingestion.sequence_oracle import BoundedOracle
from tests.ingestion.sequence_rows import SMALL, ReferenceModel, Row, check

KEYS: list[Key] = [
    ("s1", exchange, symbol) for exchange in ("ASX", "BINANCE") for symbol in ("BHP", "CBA", "RIO", "A", "B")
]
FIRST_NUMBER = 20
keys = st.sampled_from(KEYS) | st.just(KEYS[0])


class TwoTrackers(RuleBasedStateMachine):
    """The scalar tracker judges at once, the vectorised one when a batch ends; the oracle says what both must say."""

    @initialize(max_open_ranges=st.integers(1, 3), max_keys=st.integers(1, 5))
    def begin(self, max_open_ranges: int, max_keys: int) -> None:
        self.limits = SMALL.model_copy(update={"max_open_ranges": max_open_ranges, "max_keys": max_keys})
        self.oracle = BoundedOracle(self.limits)
        self.scalar = ReferenceModel(self.limits)
        self.vectorised = SequenceBatchTracker(self.limits)
        self.batch: list[Row] = []
        self.expected: list[tuple[int, int]] = []
        self.numbers_lost = 0

    def arrives(self, key: Key, number: int | None, may_reset: bool = True) -> None:
        row = Row(key, number, may_reset)
        expected = self.oracle.judge(row)
        assert self.scalar.judge(row) == expected
        self.batch.append(row)
        self.expected.append(expected)

    def last(self, key: Key) -> int:
        known = self.oracle.known.get(key)
        return FIRST_NUMBER if known is None else known.last()

    @rule(key=keys, count=st.integers(1, 4))
    def numbers_in_sequence(self, key: Key, count: int) -> None:
        for number in range(self.last(key) + 1, self.last(key) + 1 + count):
            self.arrives(key, number)

    @rule(key=keys, missing=st.integers(1, 20), times=st.integers(1, 4))
    def numbers_further_on(self, key: Key, missing: int, times: int) -> None:
        for _ in range(times):
            self.arrives(key, self.last(key) + 1 + missing)

    @precondition(lambda self: any(known.gaps() for known in self.oracle.known.values()))
    @rule(data=st.data())
    def a_number_that_was_missing(self, data: st.DataObject) -> None:
        gaps = [(key, *gap) for key, known in self.oracle.known.items() for gap in known.gaps()]
        key, first, last = data.draw(st.sampled_from(gaps))
        self.arrives(key, data.draw(st.integers(first, last)))

    @rule(key=keys, behind=st.integers(0, 4) | st.integers(0, 40))
    def a_number_from_behind(self, key: Key, behind: int) -> None:
        self.arrives(key, self.last(key) - behind)

    @rule(key=keys, number=st.integers(0, 4), may_reset=st.booleans())
    def a_number_as_of_a_new_session(self, key: Key, number: int, may_reset: bool) -> None:
        self.arrives(key, number, may_reset)

    @rule(key=keys)
    def a_record_without_a_number(self, key: Key) -> None:
        self.arrives(key, None)

    @rule(chunk_at=st.integers(0, 4) | st.none())
    def the_batch_ends(self, chunk_at: int | None = None) -> None:
        rows, expected, self.batch, self.expected = self.batch, self.expected, [], []
        result = check(self.vectorised, rows, chunk_at)
        assert list(zip(result.events.tolist(), result.seen.tolist(), strict=True)) == expected
        assert list(result.counts.values()) == [sum(event == e for e, _ in expected) for event in SequenceEvent]
        self.numbers_lost += result.lost
        assert self.numbers_lost == self.oracle.numbers_lost

    @rule()
    def the_state_is_saved_and_loaded(self) -> None:
        self.the_batch_ends()
        self.vectorised = SequenceBatchTracker.from_arrow(self.vectorised.to_arrow(), self.limits)

    @rule()
    def both_are_asked(self) -> None:
        self.the_batch_ends()
        gaps = [(key, *gap) for key, known in self.oracle.known.items() for gap in known.gaps()]
        assert self.vectorised.open_gaps() == self.scalar.open_gaps() == gaps
        assert self.vectorised.keys_forgotten == self.scalar.tracker.keys_forgotten == self.oracle.keys_forgotten
        for key in KEYS:
            known = self.oracle.known.get(key)
            counts = list(known.counts.values()) if known else [0] * len(SequenceEvent)
            lost = known.lost if known else 0
            assert self.vectorised.statistics(key) == self.scalar.statistics(key)
            assert list(self.scalar.statistics(key).values()) == [sum(counts), *counts, lost]

    def teardown(self) -> None:
        if hasattr(self, "oracle"):
            self.both_are_asked()


TestTwoTrackers = TwoTrackers.TestCase
TestTwoTrackers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
