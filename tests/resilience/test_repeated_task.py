"""A task repeated in a thread: at once, again and again whatever it raises, and no more after the end."""

import threading

from structlog.testing import capture_logs

from k2.resilience.repeated_task import RepeatedTask


def test_it_is_done_at_once_and_again_until_the_end() -> None:
    times, third = [], threading.Event()

    def task() -> None:
        times.append(threading.current_thread().name)
        if len(times) == 3:
            third.set()

    with RepeatedTask("looking", task, 0.001):
        assert times[0] == threading.current_thread().name
        assert third.wait(30)
    done = len(times)
    assert set(times[1:]) == {"looking"}
    assert not any(thread.name == "looking" for thread in threading.enumerate())
    assert len(times) == done


def test_a_task_that_fails_is_told_of_and_done_again() -> None:
    times, again = [], threading.Event()

    def task() -> None:
        times.append(1)
        if len(times) > 2:
            again.set()
        raise OSError("no")

    with capture_logs() as logs, RepeatedTask("looking", task, 0.001):
        assert again.wait(30)
    assert {(line["event"], line["task"], line["error"]) for line in logs} == {("task failed", "looking", "no")}
