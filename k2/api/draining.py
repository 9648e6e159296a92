"""Whether this process is about to stop: set when it is told to, read by /health and by every answer."""


class Draining:
    """Not draining until `begin` is called, then draining for ever."""

    def __init__(self) -> None:
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether the process has been told to stop."""
        return self._has_begun

    def begin(self) -> None:
        """From now on this process is not ready for new work."""
        self._has_begun = True
