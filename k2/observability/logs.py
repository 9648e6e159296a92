"""Structured logs: one JSON object a line on standard error, or coloured text on a terminal."""

import logging
import sys

import structlog


def configure_logs(level: str, *, json_lines: bool | None = None) -> None:
    """Set up logging for this process.

    Args:
        level: a standard level name.
        json_lines: None picks JSON unless standard error is a terminal.
    """
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
