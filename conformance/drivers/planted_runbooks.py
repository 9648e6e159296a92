"""Copies of the runbooks with a mistake in each, and what `k2 runbooks validate` says of them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGES = Path("docs") / "runbooks"
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plant:
    """A mistake: in this file the text `before` becomes `after`, and the finding must say `said` at that line.

    Attributes:
        name: of the mistake.
        path: of the file, from the repository's root.
        before: what is replaced, once.
        after: by what; its first line is where the mistake is.
        said: part of the finding.
        at_line: the line if it is not that of `after`.
    """

    name: str
    path: Path
    before: str
    after: str
    said: str
    at_line: int | None = None


PLANTS = (
    Plant("a missing part", PAGES / "api-latency-high.md", "## Symptoms\n", "", "no part 'Symptoms'", 0),
    Plant("an empty part", PAGES / "api-error-rate-high.md", "## Prevention\n", "## Prevention\n## Prevention\n",
          "the part 'Prevention' is empty"),
    Plant("parts out of order", PAGES / "duplicate-rate-high.md", "## Symptoms\n", "## Prevention\n",
          "the parts stand as", 1),
    Plant("no severity", PAGES / "high-memory-usage.md", "**high**. ", "Rather bad. ",
          "the severity is not said first", 3),
    Plant("another severity than the alert's", PAGES / "disk-space-low.md", "**critical**", "**medium**",
          "the severity is medium, of the alert critical", 1),
    Plant("a dead link", PAGES / "kafka-broker-down.md", "(disk-space-low.md)", "(disk-space.md)",
          "a link to disk-space.md, which is not there"),
    Plant("a dead anchor", PAGES / "postgresql-down.md", "disaster-recovery.md#resolution", "disaster-recovery.md#cure",
          "has no heading 'cure'"),
    Plant("an unmarked block", PAGES / "object-store-down.md", "```bash runbook=diagnosis needs=deployment",
          "```bash", "not marked with runbook="),
    Plant("an unknown program", PAGES / "circuit-breaker-open.md", "compose ps\n", "kubectl get pods\n",
          "no program 'kubectl'"),
    Plant("a program its image lacks", PAGES / "checkpoint-corruption.md", "compose logs --tail 100 kafka-1",
          "compose exec -T kafka-1 kafka-topics --list", "the image kafka has no program 'kafka-topics'"),
    Plant("an unknown service", PAGES / "no-data-ingested.md", "compose restart feed", "compose restart feeder",
          "no service 'feeder'"),
    Plant("an unknown command of k2", PAGES / "sequence-gaps-detected.md", "k2 query gaps\n", "k2 query holes\n",
          "no command 'holes'"),
    Plant("an unknown option of k2", PAGES / "iceberg-write-failures.md", "k2 audit verify --recover",
          "k2 audit verify --repair", "No such option: --repair"),
    Plant("a value k2 refuses", PAGES / "query-timeout.md", "--limit 10 --explain", "--limit ten --explain",
          "a valid integer"),
    Plant("an unknown metric", PAGES / "consumer-lag-high.md", "(rate(k2_messages_received_total",
          "(rate(k2_messages_recieved_total", "no metric is called k2_messages_recieved_total"),
    Plant("an unknown label", PAGES / "throughput-low.md", "ask 'sum by (data_type) (k2_consumer_lag_messages)'",
          "ask 'sum by (topic) (k2_consumer_lag_messages)'", "k2_consumer_lag_messages has no label 'topic'"),
    Plant("a variable nobody sets", PAGES / "failure-recovery.md", " given=TAG\n", "\n", "$TAG is set by nobody", 0),
    Plant("a substitution", PAGES / "compaction-overdue.md", "k2 query snapshots", "k2 query snapshots $(date)",
          "not read: a command inside a command"),
    Plant("an alert that leads nowhere", Path("deploy/prometheus/rules/consumer.yml"),
          "docs/runbooks/consumer-lag-growing.md", "docs/runbooks/consumer-lag-grows.md",
          "leads to docs/runbooks/consumer-lag-grows.md, which is not there", 0),
    Plant("a runbook no alert leads to", PAGES / "consumer-lag-growing.md", "", "", "no alert leads here", 1),
)  # fmt: skip
"""`at_line` 0 takes any line."""


def plant_all(root: Path, folder: Path) -> None:
    """Copy what the command reads and put every mistake in.

    Raises:
        ValueError: a text that is to be replaced is not there, so nothing would be planted.
    """
    shutil.copytree(root / "docs", folder / "docs")
    shutil.copytree(root / "deploy" / "prometheus", folder / "deploy" / "prometheus")
    shutil.copy(root / "deploy" / "compose.yaml", folder / "deploy")
    for plant in PLANTS:
        text = (folder / plant.path).read_text()
        if plant.before not in text:
            raise ValueError(f"{plant.path} has no {plant.before!r}, so {plant.name} cannot be planted")
        (folder / plant.path).write_text(text.replace(plant.before, plant.after, 1))


def validate(folder: Path) -> tuple[int, list[Mapping[str, object]]]:
    """Exit code and findings of `k2 runbooks validate` on a folder."""
    command = [sys.executable, "-m", "k2.cli", "runbooks", "validate", "--root", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [line for line in lines if "what" in line]


def is_found(plant: Plant, folder: Path, findings: list[Mapping[str, object]]) -> bool:
    """Whether a finding says it, at its place."""
    text = (folder / plant.path).read_text()
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if plant.after and plant.after.splitlines()[0] and plant.after.splitlines()[0] in line
    ]
    places = [
        finding["line"]
        for finding in findings
        if finding["path"] == str(folder / plant.path) and plant.said in str(finding["what"])
    ]
    if plant.at_line is not None:
        return bool(places) if plant.at_line == 0 else plant.at_line in places
    return bool(set(places) & set(lines))
