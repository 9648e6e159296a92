"""What becomes of records that cannot be queued now: an error for the caller, or dropped and counted, by policy."""

from collections.abc import Sequence

from k2.errors import DeliveryError, K2Error
from k2.ingestion.producer_account import (
    CIRCUIT_OPEN,
    QUEUE_FULL,
    Delivery,
    DeliveryCallbacks,
    OnBatchDelivery,
    ProducerAccount,
)
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import ProducerSettings

STANDSTILL_SECONDS = 1.0
"""A queue that lets nobody in for so long means that the broker is away; one that moves, that it is slow."""


class ProducerGate:
    """Turns records away while the broker is left alone, and those a full queue had no room for.

    Args:
        settings: the policy, and how long a full queue is waited for.
        breaker: asked before records are queued.
        callbacks: call the delivery callbacks of what is turned away.
    """

    def __init__(
        self, settings: ProducerSettings, breaker: CircuitBreaker | None, callbacks: DeliveryCallbacks
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._callbacks = callbacks

    def admits(
        self, account: ProducerAccount, topic: str, indices: Sequence[int], tell: OnBatchDelivery | None
    ) -> bool:
        """Whether records may be queued; if not, they are turned away.

        Raises:
            CircuitOpenError: they may not, and the policy is to raise.
        """
        if self._breaker is None or self._breaker.admits():
            return True
        self._turn_away(account, CIRCUIT_OPEN, self._breaker.refusal(), topic, indices, tell)
        return False

    def queue_full(
        self,
        account: ProducerAccount,
        topic: str,
        indices: Sequence[int],
        tell: OnBatchDelivery | None,
        full_seconds: float,
    ) -> None:
        """Turn away records that were admitted and found no room, nor anybody else for so many seconds.

        Raises:
            DeliveryError: the policy is to raise.
        """
        error = DeliveryError(
            f"the queue to {topic} stayed full for {self._settings.queue_full_timeout_seconds:g} s, "
            f"records not sent: {len(indices)}; the broker does not keep up, or is away"
        )
        if self._breaker is not None and full_seconds >= STANDSTILL_SECONDS:
            self._breaker.failed(error)
        self._turn_away(account, QUEUE_FULL, error, topic, indices, tell)

    def _turn_away(
        self,
        account: ProducerAccount,
        reason: str,
        error: K2Error,
        topic: str,
        indices: Sequence[int],
        tell: OnBatchDelivery | None,
    ) -> None:
        account.failed(reason, str(error), len(indices))
        if tell is not None:
            for index in indices:
                self._callbacks.tell(tell, index, Delivery(topic, None, None, reason))
        if self._settings.overload_policy == "raise":
            raise error
