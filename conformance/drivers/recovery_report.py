"""The Markdown report of a run's recoveries: a row for each, as soon as it is done."""

from pathlib import Path

from conformance.drivers.recoveries import Recovered

_HEAD = """# Recoveries

From the fault until records were acknowledged, in the table and answered again. Nobody had to notice it: add what that
takes. The data was followed record by record; what came out is in the verdicts of the run.

| recovery | s | objective, s | of them from the first command on, s | blocks typed |
|---|---|---|---|---|
"""


def add_to_report(path: Path, recovered: Recovered) -> None:
    """Add a row, and begin the report where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(_HEAD)
    seconds = "never" if recovered.outage_seconds is None else f"{recovered.outage_seconds:.1f}"
    with path.open("a") as file:
        file.write(
            f"| {recovered.name} | {seconds} | {recovered.objective_seconds:g} | {recovered.typed_seconds:.1f} "
            f"| {recovered.commands} |\n"
        )
