"""Something that is done again and again beside a body."""

import threading

import pytest

from conformance.drivers.repeating import repeating


def test_it_is_done_until_the_body_ends_and_never_after() -> None:
    done, thrice = [0], threading.Event()

    def act() -> None:
        done[0] += 1
        if done[0] == 3:
            thrice.set()

    with repeating(0.001, act):
        assert thrice.wait(10)
    after = done[0]
    assert not [one for one in threading.enumerate() if one.name == "repeating"]
    assert done[0] == after


def test_what_it_raises_is_raised_once_the_body_has_run() -> None:
    tried, ran = threading.Event(), []

    def act() -> None:
        tried.set()
        raise ConnectionError("nobody there")

    def body() -> None:
        with repeating(0.001, act):
            assert tried.wait(10)
            ran.append("to its end")

    with pytest.raises(ConnectionError, match="nobody there"):
        body()
    assert ran == ["to its end"]
