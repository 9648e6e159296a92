"""What a run is measured with: rubric, requirements, checkers, and one version that changes when any of them does."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reports.readiness.errors import RulerError
from reports.readiness.registry import Registry, load_registry
from reports.readiness.rubric import Rubric, load_rubric
from reports.readiness.waivers import Waiver, load_waivers

SHOWN_CHARACTERS = 12
_CLAIM_ID = re.compile(r'\bid = "([A-Z]+-\d+[a-z])"')


@dataclass(frozen=True, slots=True)
class RulerFiles:
    """Where the parts of a ruler lie below a checkout."""

    root: Path

    @property
    def requirements(self) -> Path:
        """What is promised."""
        return self.root / "conformance" / "requirements.toml"

    @property
    def rubric(self) -> Path:
        """What each promise is worth."""
        return self.root / "reports" / "readiness" / "rubric.toml"

    @property
    def waivers(self) -> Path:
        """What is put up with for a while. No part of the version: it changes no measurement."""
        return self.root / "reports" / "readiness" / "waivers.toml"

    @property
    def checkers(self) -> Path:
        """Who judges."""
        return self.root / "conformance" / "checkers"


@dataclass(frozen=True, slots=True)
class Ruler:
    """A ruler in use.

    Attributes:
        registry: requirements and claims.
        rubric: points.
        waivers: active or expired.
        requirements_sha256: hash of the file, in hex; likewise the next.
        rubric_sha256: of the rubric.
        checkers_sha256: of names and contents of all checkers.
        claim_lines: claim id -> line of the file of requirements, from 1.
    """

    registry: Registry
    rubric: Rubric
    waivers: tuple[Waiver, ...] = ()
    requirements_sha256: str = ""
    rubric_sha256: str = ""
    checkers_sha256: str = ""
    claim_lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """One hash of the three parts, in hex: two rulers are one if this is the same."""
        parts = f"{self.rubric_sha256}\n{self.requirements_sha256}\n{self.checkers_sha256}\n"
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def version(self) -> str:
        """The rubric's own version, and the first characters of the hash."""
        return f"{self.rubric.version}-{self.sha256[:SHOWN_CHARACTERS]}"


def load_ruler(files: RulerFiles) -> Ruler:
    """The ruler of a checkout.

    Raises:
        RulerError: a part is missing, malformed or contradicts another.
    """
    registry = load_registry(files.requirements)
    rubric = load_rubric(files.rubric, registry)
    return Ruler(
        registry=registry,
        rubric=rubric,
        waivers=load_waivers(files.waivers, registry),
        requirements_sha256=_sha256_of((files.requirements,)),
        rubric_sha256=_sha256_of((files.rubric,)),
        checkers_sha256=_sha256_of(sorted(files.checkers.glob("*.py"))),
        claim_lines=_claim_lines(files.requirements),
    )


def _claim_lines(path: Path) -> dict[str, int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = ((_CLAIM_ID.search(line), number) for number, line in enumerate(lines, start=1))
    return {match.group(1): number for match, number in found if match}


def _sha256_of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise RulerError(f"{path} cannot be read: {error.strerror}") from error
        digest.update(f"{content}  {path.name}\n".encode())
    return digest.hexdigest()
