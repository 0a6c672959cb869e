"""Python's log records in the log of a node, each with its own severity."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from vga_policy.ros.clocks import every

PATIENCE = 10.0  # s for which what a node waits for may be away: nodes come up in any order
LOOK_PERIOD = 1.0  # s

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


class Complaints:
    """Logs what keeps a node from its work: a warning at first, for what is waited for may be coming up; an error once
    it has lasted for PATIENCE.

    Any thread may call `say`.
    """

    def __init__(self, node: Node, patience: float = PATIENCE) -> None:
        self._logger, self._patience = node.get_logger(), patience
        self._lock = threading.Lock()
        self._problem, self._since, self._told = "", 0.0, False
        every(node, LOOK_PERIOD, self._look)

    def say(self, problem: str) -> None:
        """What is the matter now; empty: nothing any more."""
        with self._lock:
            if problem and not self._problem:
                self._since, self._told = time.monotonic(), False
            self._problem = problem
            if problem and self._told:
                self._logger.error(problem)
            elif problem:
                self._logger.warning(problem)

    def _look(self) -> None:
        with self._lock:
            if self._problem and not self._told and time.monotonic() - self._since > self._patience:
                self._told = True
                self._logger.error(self._problem)
