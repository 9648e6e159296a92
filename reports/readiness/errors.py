"""What can go wrong while a card is made. Each message is one line: what, where, remedy.

CardError                  base of all
|-- RulerError             registry, rubric or waivers cannot be used, so the harness is broken
|-- RunNotFoundError       there is no such run
|-- IncomparableRunsError  runs that were not measured on one commit with one ruler
`-- ToolError              a program that was asked for help is not there or broke
"""


class CardError(Exception):
    """Base of every error raised here on purpose."""


class RulerError(CardError):
    """The registry, the rubric or the waivers are missing, malformed or contradict themselves."""


class RunNotFoundError(CardError):
    """There is no such run directory."""


class IncomparableRunsError(CardError):
    """Runs of different commits, or measured with different rulers, cannot be laid side by side."""


class ToolError(CardError):
    """A program that was asked for help is not there, or broke."""
