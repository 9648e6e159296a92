"""Runs what blocks in threads, and waits for it no longer than a limit, whatever it does.

A query stops at its own time limit. What cannot be stopped, such as a catalog that does not answer while a query is
being planned, is not waited for any longer: the request is answered in time, and the thread is left to itself. It goes
on until its call returns, throws the result away, and counts among the threads there may be until then. So when a
dependency hangs there are never more threads than that, and further requests wait their time and are answered too.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from k2.errors import QueryTimeoutError, UnavailableError
from k2.observability.metrics import Metrics

Result = TypeVar("Result")
CheckWanted = Callable[[], None]
"""Raises QueryTimeoutError once nobody waits for the result any more."""

_LOOK_SECONDS = 0.01
_log = structlog.get_logger("k2.api")


class NotInTimeError(QueryTimeoutError):
    """The work had not ended at the limit, and may still go on."""


@dataclass(slots=True)
class _Call:
    """One piece of work; `is_wanted` is written by the event loop alone."""

    done: asyncio.Future[Any]
    is_wanted: bool = True

    def check_wanted(self) -> None:
        if not self.is_wanted:
            raise QueryTimeoutError("nobody waits for the answer any more")


class RequestThreads:
    """Threads for requests; used from one event loop.

    Args:
        most: threads at once, those that nobody waits for included.
        metrics: shows k2_api_abandoned_threads; None shows nothing.
    """

    def __init__(self, most: int, metrics: Metrics | None = None) -> None:
        self._free = asyncio.Semaphore(most)
        self._metrics = metrics
        self._abandoned = 0
        self._running = 0

    async def run(self, work: Callable[[CheckWanted], Result], limit_seconds: float) -> Result:
        """What the work returns or raises.

        Args:
            work: called in a thread; it may call what it is given between two steps.
            limit_seconds: for waiting for a thread and for the work.

        Raises:
            NotInTimeError: it has not ended within the limit.
        """
        call = _Call(asyncio.get_running_loop().create_future())
        has_begun = False
        try:
            async with asyncio.timeout(limit_seconds) as bound:
                await self._free.acquire()
                has_begun = True
                self._begin(call, work)
                result: Result = await call.done
                return result
        except TimeoutError as error:
            if not bound.expired():
                raise  # the work's own
            raise NotInTimeError(f"not done within {limit_seconds:g} s") from error
        finally:
            # A thread that was cut off goes on, so it has to learn that it need not.
            call.is_wanted = False
            if call.done.done() and not call.done.cancelled():
                # It may have ended in the very moment of the limit; then nobody else looks at its error.
                call.done.exception()
            elif has_begun:
                self._count_abandoned(1)
                _log.warning("a request's thread is left to itself", abandoned=self._abandoned)

    async def wait_until_idle(self, limit_seconds: float) -> bool:
        """Whether every thread has ended, waited for no longer than the limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                while self._running:
                    await asyncio.sleep(_LOOK_SECONDS)
        return not self._running

    def _begin(self, call: _Call, work: Callable[[CheckWanted], Result]) -> None:
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()

        def run() -> None:
            result: Result | None = None
            error: BaseException | None = None
            try:
                result = context.run(work, call.check_wanted)
            except BaseException as raised:  # noqa: BLE001 - belongs to whoever waits
                error = raised
            # Once the loop is closed, nobody waits and nobody counts.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._end, call, result, error)

        self._running += 1
        # Nothing waits for them at the end of the process: one that hangs must not keep it from ending.
        try:
            threading.Thread(target=run, name="request", daemon=True).start()
        except RuntimeError:
            self._end(call, None, UnavailableError("no further thread can be started"))

    def _end(self, call: _Call, result: object, error: BaseException | None) -> None:
        self._free.release()
        self._running -= 1
        if call.done.cancelled():
            self._count_abandoned(-1)
        elif error is not None:
            call.done.set_exception(error)
        else:
            call.done.set_result(result)

    def _count_abandoned(self, change: int) -> None:
        self._abandoned += change
        if self._metrics is not None:
            self._metrics.set("k2_api_abandoned_threads", self._abandoned)
