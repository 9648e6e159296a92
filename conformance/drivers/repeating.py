"""Something that is done again and again beside what a clause does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(interval_seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Do it every so often, in a thread, for as long as the body runs.

    Raises:
        Exception: what it raised, which ends it, once the body has run.
    """
    over = threading.Event()
    failures: list[BaseException] = []

    def go_on() -> None:
        try:
            while not over.wait(interval_seconds):
                act()
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that asked
            failures.append(error)

    thread = threading.Thread(target=go_on, name="repeating")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]
