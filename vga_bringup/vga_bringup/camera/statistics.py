"""What a camera stream achieved: rate, losses, latency. Counted on the device's thread, reported from any other."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from vga_bringup.camera.clock import Refused


@dataclass(frozen=True)
class StreamReport:
    """fps and latencies are of the frames since the report before; counts are since the start.

    latency_ms: mean time from capture until the frame was handed over (published); nan without frames.
    lost: frame numbers that never came or came too late to be newer than the frame before; lost_since: of them, since
        the report before. duplicates: frames refused for not being newer; ahead: for a stamp ahead of their arrival.
    """

    fps: float
    latency_ms: float
    worst_latency_ms: float
    delivered: int
    lost: int
    lost_since: int
    duplicates: int
    ahead: int


class StreamStatistics:
    """Counts frames."""

    def __init__(self, now_ns: int) -> None:
        self._lock = threading.Lock()
        self._latencies_ns: list[int] = []
        self._since_ns = now_ns
        self._last_number: int | None = None
        self._delivered = self._duplicates = self._ahead = self._lost = self._lost_reported = 0

    def restarted(self) -> None:
        """The stream starts anew: the numbers to come do not continue the former ones."""
        with self._lock:
            self._last_number = None

    def received(self, number: int) -> None:
        """A frame with this number arrived; the numbers skipped since the one before are lost frames."""
        with self._lock:
            if self._last_number is not None:
                self._lost += max(0, number - self._last_number - 1)
            self._last_number = number

    def refused(self, why: Refused) -> None:
        """A frame was dropped."""
        with self._lock:
            if why is Refused.AHEAD:
                self._ahead += 1
            else:
                self._duplicates += 1

    def delivered(self, latency_ns: int) -> None:
        """A frame was handed over, so long after its capture."""
        with self._lock:
            self._delivered += 1
            self._latencies_ns.append(latency_ns)

    def report(self, now_ns: int) -> StreamReport:
        """The report since the last one; `now_ns` is of any steady clock, the one given at the start."""
        with self._lock:
            latencies, self._latencies_ns = self._latencies_ns, []
            elapsed_ns, self._since_ns = now_ns - self._since_ns, now_ns
            lost_since, self._lost_reported = self._lost - self._lost_reported, self._lost
            return StreamReport(
                fps=len(latencies) / (elapsed_ns * 1e-9) if elapsed_ns > 0 else 0.0,
                latency_ms=sum(latencies) / len(latencies) * 1e-6 if latencies else float("nan"),
                worst_latency_ms=max(latencies) * 1e-6 if latencies else float("nan"),
                delivered=self._delivered,
                lost=self._lost,
                lost_since=lost_since,
                duplicates=self._duplicates,
                ahead=self._ahead,
            )
