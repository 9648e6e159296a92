"""Metrics, logs and traces: declared here once, recorded everywhere."""
