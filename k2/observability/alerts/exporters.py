"""Metrics that rules may use and K2 does not declare: whose they are, and the labels they have."""

from collections.abc import Mapping

TARGET_LABELS = frozenset({"job", "instance"})
"""Every sample has them: Prometheus adds them to what it scrapes."""

EXPORTERS: Mapping[str, Mapping[str, frozenset[str]]] = {
    # Written by Prometheus itself for every target it asks.
    "prometheus": {
        name: frozenset[str]()
        for name in ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling")
    },
    # Part of /metrics of every K2 process.
    "prometheus_client": {
        name: frozenset[str]()
        for name in (
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_virtual_memory_bytes",
        )
    },
}
EXPORTED_LABELS: Mapping[str, frozenset[str]] = {
    name: labels for metrics in EXPORTERS.values() for name, labels in metrics.items()
}
