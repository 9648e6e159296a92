"""Write docs/metrics.md from the catalogue and from where code records it; with --check only say whether it is current.

    python scripts/document_metrics.py [--check]

Exit status: 0, or 1 where the page is not current.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from k2.observability.alerts.exporters import EXPORTERS  # noqa: E402
from k2.observability.metrics import CATALOGUE, Metric  # noqa: E402
from scripts.metric_calls import CATALOGUE_FILE, Recording, declared_metrics, recordings  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
_SECTION = re.compile(r"^    # (?P<name>.+)$")

LABELS = {
    "address": "servers the settings name",
    "asset_class": "2",
    "breaker": "5 dependencies",
    "component": "2 kinds of process",
    "data_type": "trades, quotes, reference_data",
    "dependency": "5",
    "destination": "broker or file",
    "directory": "folders the settings name, at most 5",
    "endpoint": "routes of the API, and one for all unknown paths",
    "error": "classes of exceptions",
    "event": "6 verdicts",
    "exchange": "consumer.exchanges, 4 if nothing is set",
    "kind": "assigned, lost",
    "level": "4",
    "method": "9 of HTTP, and one for all others",
    "outcome": "at most 4",
    "partition": "partitions of the consumer's topics",
    "query": "queries of the engine",
    "reason": "classes of errors or rules; never a message's text",
    "rule": "rules of validation that flag",
    "signal": "6",
    "stage": "steps that reject: decode, validate",
    "status": "success and failed, or a status of HTTP",
    "step": "8 steps of the protocol",
    "store": "memory, sqlite, redis",
    "table": "3",
    "to": "states or levels",
    "tracker": "2",
    "what": "kinds of work that are shed",
}

HEAD = """# Metrics

<!-- written by python scripts/document_metrics.py -->

Every metric is declared once, in [metrics.py](../k2/observability/metrics.py), with its type, labels and help.
Recording it with other labels, or by an operation its type does not have, is refused at the call;
`python scripts/validate_metrics_labels.py` finds it before, by reading the code (in a commit's hook and in
`make lint`). The alert rules that use them are in [alerts.md](alerts.md).

The API serves its metrics at `/metrics`; a consumer where `K2_CONSUMER__METRICS_PORT` says and `k2 feed` where
`K2_PRODUCER__METRICS_PORT` says, both on 127.0.0.1 unless `..._METRICS_HOST` says otherwise. Every counter ends in
`_total`; a histogram has `_bucket`, `_sum` and `_count`. A gauge that is computed when it is read never shows what was
true once.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_catalogue(), *_labels(), *_others()])


def _catalogue() -> Iterator[str]:
    places = _places()
    for section, metrics in _sections().items():
        yield f"## {section[0].upper()}{section[1:]}\n"
        yield "| metric | type, unit | labels | what it is | recorded in |"
        yield "|---|---|---|---|---|"
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
            places_of = "<br>".join(places.get(metric.name, ())) or "-"
            yield f"| `{metric.name}` | {metric.kind.value}, {metric.unit} | {labels} | {metric.help} | {places_of} |"
        yield ""
    yield f"{len(CATALOGUE)} metrics.\n"


def _sections() -> dict[str, list[Metric]]:
    """The metrics below each comment of the catalogue."""
    lines = {metric.name: metric.line for metric in declared_metrics(ROOT / CATALOGUE_FILE)}
    source = (ROOT / CATALOGUE_FILE).read_text(encoding="utf-8").splitlines()
    found: dict[str, list[Metric]] = {}
    for metric in CATALOGUE:
        above = reversed(source[: lines[metric.name]])
        name = next(match["name"] for line in above if (match := _SECTION.match(line)))
        found.setdefault(name, []).append(metric)
    return found


def _places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    names = {metric.name for metric in CATALOGUE}
    for recording in sorted(recordings([Path("k2")], ROOT, names), key=_place_of):
        place = f"[{Path(recording.path).name}](../{recording.path}) `{recording.function}`"
        if place not in found.setdefault(recording.metric, []):
            found[recording.metric].append(place)
    return found


def _place_of(recording: Recording) -> tuple[str, str]:
    return recording.path, recording.function


def _labels() -> Iterator[str]:
    yield "## Labels\n"
    yield "Each has few values, and none that grows with the data: no symbol, no id, no text of an error. Ten thousand"
    yield "symbols add no series.\n"
    yield "| label | values |"
    yield "|---|---|"
    for label in sorted({label for metric in CATALOGUE for label in metric.labels}):
        yield f"| `{label}` | {LABELS[label]} |"
    yield ""


def _others() -> Iterator[str]:
    yield "## Of others\n"
    yield "Rules and dashboards may use these too. Every sample has `job` and `instance`, which Prometheus adds.\n"
    yield "| whose | metrics |"
    yield "|---|---|"
    for exporter, metrics in EXPORTERS.items():
        yield f"| {exporter} | {', '.join(f'`{name}`' for name in metrics)} |"
    yield ""


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not current: run python scripts/document_metrics.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
