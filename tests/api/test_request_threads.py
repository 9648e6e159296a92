"""Threads for requests: waited for up to a limit, never more than allowed, and those left behind are counted."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from k2.api.request_threads import NotInTimeError, RequestThreads
from k2.errors import QueryTimeoutError
from k2.observability.metrics import Metrics

GAUGE = "k2_api_abandoned_threads"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


def test_what_the_work_returns_or_raises_comes_back() -> None:
    async def run() -> None:
        threads = RequestThreads(2)
        assert await threads.run(lambda _: threading.current_thread().daemon, 5) is True
        with pytest.raises(TimeoutError, match="of its own"):
            await threads.run(lambda _: fail(TimeoutError("of its own")), 5)
        with pytest.raises(MemoryError):
            await threads.run(lambda _: fail(MemoryError()), 5)

    asyncio.run(run())


def test_work_that_ends_in_the_moment_of_the_limit_is_late_and_nothing_else() -> None:
    async def run() -> None:
        threads = RequestThreads(1, metrics := Metrics())
        late = asyncio.create_task(threads.run(lambda _: fail(MemoryError()), 0.05))
        await asyncio.sleep(0)
        # Keeps the loop from looking, until both have happened.
        time.sleep(0.3)
        with pytest.raises(NotInTimeError):
            await late
        assert metrics.value(GAUGE) == 0
        assert await threads.run(lambda _: "served", 5) == "served"

    asyncio.run(run())


def fail(error: Exception) -> None:
    raise error


def test_work_over_the_limit_is_left_to_itself_counted_and_told_that_nobody_waits() -> None:
    async def run() -> None:
        metrics = Metrics()
        threads = RequestThreads(2, metrics)
        told: list[Exception] = []
        release = threading.Event()

        def work(check_wanted: Callable[[], None]) -> None:
            check_wanted()
            release.wait(10)
            try:
                check_wanted()
            except QueryTimeoutError as error:
                told.append(error)

        started = time.monotonic()
        with pytest.raises(NotInTimeError):
            await threads.run(work, 0.05)
        assert time.monotonic() - started < 5
        assert metrics.value(GAUGE) == 1
        release.set()
        await until(lambda: metrics.value(GAUGE) == 0)
        assert len(told) == 1

    asyncio.run(run())


def test_threads_left_behind_keep_their_places_and_those_who_find_none_are_answered_in_time() -> None:
    async def run() -> None:
        threads = RequestThreads(2, Metrics())
        release = threading.Event()
        begun: list[int] = []

        def hang(number: int) -> None:
            begun.append(number)
            release.wait(10)

        for number in range(5):
            with pytest.raises(NotInTimeError):
                await threads.run(lambda _, number=number: hang(number), 0.05)  # type: ignore[misc]
        assert begun == [0, 1]
        release.set()
        assert await threads.run(lambda _: "served", 5) == "served"

    asyncio.run(run())
