"""How new a table is: a value that storage keeps, and that consumer and API measure against their clocks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewestRows:
    """How new a table is for one exchange. All times are ns since the Unix epoch, UTC.

    Attributes:
        exchange: exchange code.
        event_time_ns: the latest event time of its rows.
        receive_time_ns: the latest receive time of its rows; old for a recording that is played again.
        committed_time_ns: when rows of it were last committed, by the clock of the consumer that did.
    """

    exchange: str
    event_time_ns: int
    receive_time_ns: int
    committed_time_ns: int

    def age_seconds(self, now_ns: int) -> float:
        """How long ago the newest record was received; negative where its clock is ahead of `now_ns`."""
        return (now_ns - self.receive_time_ns) / 1e9

    def silence_seconds(self, now_ns: int) -> float:
        """How long no row has come; negative where the consumer's clock is ahead of `now_ns`."""
        return (now_ns - self.committed_time_ns) / 1e9
