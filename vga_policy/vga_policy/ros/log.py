"""Python's log records in the log of a node, each with its own severity."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

# A line each, because rclpy ties a severity to the line it is logged from.
SEVERITIES: tuple[tuple[int, Callable[[RcutilsLogger, str], object]], ...] = (
    (logging.CRITICAL, lambda logger, text: logger.fatal(text)),
    (logging.ERROR, lambda logger, text: logger.error(text)),
    (logging.WARNING, lambda logger, text: logger.warning(text)),
    (logging.INFO, lambda logger, text: logger.info(text)),
    (logging.NOTSET, lambda logger, text: logger.debug(text)),
)


class RosLogHandler(logging.Handler):
    """Carries records to a node's logger, which publishes them too.

    post: has the given function called with the given record, soon or at once. What logs need not wait for DDS.
    """

    def __init__(self, logger: RcutilsLogger, post: Callable[[Callable[[Any], None], Any], None]) -> None:
        super().__init__()
        self._logger, self._post = logger, post

    def emit(self, record: logging.LogRecord) -> None:
        """Called by Python's logging."""
        self._post(self._say, record)

    def _say(self, record: logging.LogRecord) -> None:
        say = next(say for level, say in SEVERITIES if record.levelno >= level)
        say(self._logger, record.getMessage())
