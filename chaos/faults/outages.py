"""What every stack can do to a dependency of its own, see conformance.stacks.base.Outage."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from chaos.faults.fault import TimedFault
from conformance.stacks.base import Outage, Stack


@dataclass(slots=True)
class DependencyGone(TimedFault):
    """A dependency is gone, hung or locked."""

    stack: Stack
    kind: Outage
    _healing: ExitStack = field(default_factory=ExitStack, init=False)

    def inject(self) -> Mapping[str, Any]:
        """Have it gone."""
        self._healing.enter_context(self.stack.outage(self.kind))
        return {}

    def heal(self) -> None:
        """Have it back."""
        self._healing.close()
