"""Several synthetic exchanges at once: Binance's crypto and the ASX's equities, in the order they are received."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice

from k2.feeds.feed import FeedRecord, FeedStatistics
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.feeds.truth_file import TruthFile

MARKETS = {
    "binance": SyntheticSettings(),
    "asx": SyntheticSettings(
        symbols=("BHP", "RIO", "CBA", "CSL"),
        exchange="ASX",
        asset_class="equities",
        sequenced_quotes=True,
        venues=("ASX", "ASX", "CXA"),
        conditions=("", "", "XT", "CX"),
    ),
}
"""What each is like, but for seed, length and faults: Binance numbers its trades alone, the ASX its quotes as well."""

_SEEDS_APART = 1_000_003
_LARGEST_SEED = 2**63 - 1


class SyntheticMarkets:
    """Synthetic exchanges as one feed."""

    def __init__(
        self, chosen: Sequence[SyntheticSettings], records: int | None, truth: TruthFile | None = None
    ) -> None:
        """Nothing is generated yet.

        Args:
            chosen: one for each exchange.
            records: how many to send, of all exchanges together; None for no end. One exchange alone takes its own.
            truth: is told of every record just before it is handed on.
        """
        endless = chosen if len(chosen) == 1 else [replace(settings, records=None) for settings in chosen]
        self._exchanges = [SyntheticExchange(settings) for settings in endless]
        self._records = records
        self._truth = truth
        self._counts = Counter[str]()
        if truth is not None:
            for exchange in self._exchanges:
                truth.introduce(exchange)

    @property
    def statistics(self) -> FeedStatistics:
        """Counts of the iteration in progress, or of the last one."""
        counts = self._counts
        return FeedStatistics(counts["trades"], counts["quotes"], counts["reference_data"])

    def __iter__(self) -> Iterator[FeedRecord]:
        """Records of all exchanges in the order they are received."""
        counts = self._counts = Counter[str]()
        feeds = [exchange.planted() for exchange in self._exchanges]
        received = merge(*feeds, key=lambda pair: pair[0].record["receive_time_ns"])
        # Told here and not in each exchange: merging takes records from them before they are handed on.
        for item, planted in islice(received, self._records):
            counts[item.data_type] += 1
            if self._truth is not None:
                self._truth.describe(item, planted)
            yield item


def with_own_seeds(chosen: Sequence[SyntheticSettings], seed: int) -> list[SyntheticSettings]:
    """The first takes the seed as given, the others one of their own, lest their records come at the same moments."""
    return [
        replace(settings, seed=(seed + position * _SEEDS_APART) % (_LARGEST_SEED + 1))
        for position, settings in enumerate(chosen)
    ]
