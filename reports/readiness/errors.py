"""What can go wrong while a card is made. Each message is one line: what, where, remedy.

CardError is the base. RulerError: registry or rubric cannot be used, so the harness is broken. RunNotFoundError: there
is no such run.
"""


class CardError(Exception):
    """Base of every error raised here on purpose."""


class RulerError(CardError):
    """The registry or the rubric is missing, malformed or contradicts itself."""


class RunNotFoundError(CardError):
    """There is no such run directory."""
