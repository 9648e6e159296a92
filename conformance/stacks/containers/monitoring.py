"""Prometheus and Alertmanager of a run: what they are told to ask, and by which rules."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from conformance.stacks.containers.services import ContainerServices

RULES = Path("prometheus") / "rules"
PROMETHEUS_FILE = Path("prometheus") / "prometheus.yml"
ALERTMANAGER_FILE = Path("alertmanager") / "alertmanager.yml"


class RunMonitoring:
    """Those of a run, as one platform on its servers sees them.

    Args:
        services: the servers.
        platform: name of the platform.
    """

    def __init__(self, services: ContainerServices, platform: str) -> None:
        self._services = services
        self._platform = platform

    @property
    def prometheus_url(self) -> str:
        """Where it is for this host, past Toxiproxy."""
        return self._services.addresses().url("prometheus")

    @property
    def alertmanager_url(self) -> str:
        """Where it is for this host, past Toxiproxy."""
        return self._services.addresses().url("alertmanager")

    @property
    def instances(self) -> str:
        """A regular expression of the label `instance` that this platform's processes have, and no other's."""
        return f"{self._platform}-.+"

    @contextmanager
    def rules(self, folder: Path) -> Iterator[None]:
        """Have Prometheus go by the rules of a folder instead of deploy/prometheus/rules, for as long as this lasts.

        All platforms of the run see it. What rules record and which alerts are pending begins anew.
        """
        place = self._services.configuration_directory / RULES
        kept = {path.name: path.read_text() for path in place.glob("*.yml")}
        try:
            self._load(place, {path.name: path.read_text() for path in sorted(folder.glob("*.yml"))})
            yield
        finally:
            self._load(place, kept)

    def prometheus_configuration(self) -> str:
        """What the Prometheus of the run goes by, its rules apart."""
        return (self._services.configuration_directory / PROMETHEUS_FILE).read_text()

    @contextmanager
    def configured(self, prometheus: str, alertmanager: str) -> Iterator[None]:
        """Have both go by other configurations, rules apart, for as long as this lasts.

        Args:
            prometheus: text of its prometheus.yml.
            alertmanager: text of its alertmanager.yml.
        """
        folder = self._services.configuration_directory
        kept = {path: (folder / path).read_text() for path in (PROMETHEUS_FILE, ALERTMANAGER_FILE)}
        try:
            self._write({PROMETHEUS_FILE: prometheus, ALERTMANAGER_FILE: alertmanager})
            yield
        finally:
            self._write(kept)

    def _write(self, files: Mapping[Path, str]) -> None:
        for path, text in files.items():
            # Never replaced by another file: what is mounted is this one.
            (self._services.configuration_directory / path).write_text(text)
            self._services.read_configuration_again(path.parts[0])

    def _load(self, place: Path, files: dict[str, str]) -> None:
        for path in place.glob("*.yml"):
            path.unlink()
        for name, text in files.items():
            (place / name).write_text(text)
            (place / name).chmod(0o644)
        self._services.read_configuration_again("prometheus")
