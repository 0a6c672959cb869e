"""How a node's process starts ROS, and learns that it shall end."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.signals import SignalHandlerOptions

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> list[signal.Signals]:
    """Those of SIGNALS that end this process: SIGHUP, of a terminal that closes, not where nohup had it ignored."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if number is not signal.SIGHUP or not nohup]


class Stop:
    """Whether one of `heeded` has come; those after the first are ignored, for Ctrl-C under a launcher comes twice.

    Python hands signals back to the system while it ends: a second one would kill a process that ends in order.
    """

    def __init__(self) -> None:
        self._asked = self._interrupts = False
        # No Event: its lock may be held by the very thread that a signal interrupts.
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        for number in heeded():
            signal.signal(number, self._on_signal)

    def __bool__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        """Asks as a signal does; any thread may."""
        self._asked = True
        self._news.put(None)

    def wait(self) -> None:
        """Returns once it has been asked. For the main thread."""
        self._news.get()
        self._ignore()

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Inside, a signal raises KeyboardInterrupt too: for what has nothing to put in order and takes its time."""
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def _on_signal(self, *_: object) -> None:
        self._ignore()
        self.ask()
        if self._interrupts:
            raise KeyboardInterrupt

    @staticmethod
    def _ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def start_ros(args: list[str] | None = None) -> Stop:
    """`rclpy.init` for a main thread that asks, between two portions of work, whether it shall stop.

    Not rclpy's own handlers: they end ROS at any instant, also in the middle of what spinning does.
    """
    stop = Stop()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    return stop
