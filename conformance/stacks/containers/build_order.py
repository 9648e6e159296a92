"""Which images are built beside one another: two at a time, those that share a stage one after the other."""

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from conformance.stacks.containers.image_catalogue import ImageSpec

_LANES = 2
_TOOLS = ("OPENJDK_VERSION", "GO_VERSION")
"""Versions of what a stage is made of that several images begin with; built at once it would be fetched twice."""
Built = TypeVar("Built")


def chains(specs: Iterable[ImageSpec]) -> list[tuple[ImageSpec, ...]]:
    """Images in groups, each to be built in its order; the groups do not depend on one another."""
    grouped: dict[tuple[str, str] | str, list[ImageSpec]] = {}
    for spec in specs:
        tool = next(((name, spec.versions[name]) for name in _TOOLS if name in spec.versions), spec.name)
        grouped.setdefault(tool, []).append(spec)
    return [tuple(group) for group in grouped.values()]


def two_at_a_time(groups: Sequence[Sequence[ImageSpec]], build: Callable[[ImageSpec], Built]) -> list[Built]:
    """Build the groups, two beside each other.

    After an error nothing more is begun, and what is under way is waited for; Ctrl-C waits for nothing, since the
    engine ends a build whose client has gone.

    Returns:
        what was built, in the order in which it was finished.

    Raises:
        Exception: the first that a build raised.
    """
    pending: SimpleQueue[Sequence[ImageSpec]] = SimpleQueue()
    results: SimpleQueue[tuple[Built | None, BaseException | None]] = SimpleQueue()
    for group in groups:
        pending.put(group)
    failed = threading.Event()

    def lane() -> None:
        try:
            while True:
                for spec in pending.get_nowait():
                    if failed.is_set():
                        return
                    results.put((build(spec), None))
        except Empty:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.set()
            results.put((None, error))
        finally:
            results.put((None, None))

    lanes = [threading.Thread(target=lane, name="build", daemon=True) for _ in range(_LANES)]
    for thread in lanes:
        thread.start()
    built: list[Built] = []
    errors: list[BaseException] = []
    running = len(lanes)
    while running:
        done, error = results.get()
        if done is not None:
            built.append(done)
        elif error is not None:
            errors.append(error)
        else:
            running -= 1
    if errors:
        raise errors[0]
    return built
