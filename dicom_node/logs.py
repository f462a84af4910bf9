"""Structured logging: one line per event, on standard error, without patient identity."""

import logging
import sys
import threading

import structlog
from structlog.typing import Processor

from config.schema import LogSettings


def configure_logs(settings: LogSettings) -> None:
    """Send structlog and the standard library's log through one format.

    Parameters
    ----------
    settings : LogSettings
        `level`, and `format`: "console" for people, "json" for log collectors.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Libraries tell a hundred lines of every font that a page holds; their warnings count.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(__package__).setLevel(settings.level.upper())
    # These log data set contents, one line per poll, or what we log ourselves.
    for name in ("pydicom", "pynetdicom", "apscheduler", "highdicom", "matplotlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threading.excepthook = _log_lost_thread


def _log_lost_thread(fault: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, such as one of pynetdicom's on a command that it cannot read."""
    structlog.get_logger().error(
        "thread ended by a fault",
        thread=fault.thread.name if fault.thread else "",
        exc_info=(fault.exc_type, fault.exc_value, fault.exc_traceback),
    )
