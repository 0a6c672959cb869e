"""How steady the control loop runs: rates and durations over the recent past."""

from __future__ import annotations

from collections import deque

import numpy as np

CYCLES_KEPT = 100  # 10 s at 10 Hz
REHEARSALS_KEPT = 3


class CycleStatistics:
    """Rolling record of control cycles. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._finished: deque[float] = deque(maxlen=CYCLES_KEPT)
        self._prepare: deque[float] = deque(maxlen=CYCLES_KEPT)
        self._predict: deque[float] = deque(maxlen=CYCLES_KEPT)
        self._rehearsals: deque[float] = deque(maxlen=REHEARSALS_KEPT)

    def rehearsed(self, duration: float) -> None:
        """One cycle without a task took so long (s)."""
        self._rehearsals.append(duration)

    @property
    def rehearsal(self) -> float | None:
        """The shortest of the newest rehearsals, s: what a cycle takes at best. None before the first."""
        return min(list(self._rehearsals), default=None)

    def record(self, finished: float, prepare: float, predict: float) -> None:
        """One cycle: when it finished, and how long preparing the inputs and running the model took (s)."""
        self._finished.append(finished)
        self._prepare.append(prepare)
        self._predict.append(predict)

    def clear(self) -> None:
        """Forgets the past: a pause between tasks is no slow cycle."""
        for record in (self._finished, self._prepare, self._predict):
            record.clear()

    def report(self) -> dict[str, float]:
        """Rate (Hz), percentiles of the durations and the longest interval (ms); empty before two cycles."""
        finished, prepare, predict = list(self._finished), list(self._prepare), list(self._predict)
        if len(finished) < 2:
            return {}
        intervals = np.diff(finished)
        return {
            "rate_hz": 1.0 / float(intervals.mean()),
            "longest_interval_ms": 1e3 * float(intervals.max()),
            "preprocessing_ms_p50": 1e3 * float(np.percentile(prepare, 50)),
            "preprocessing_ms_p95": 1e3 * float(np.percentile(prepare, 95)),
            "inference_ms_p50": 1e3 * float(np.percentile(predict, 50)),
            "inference_ms_p95": 1e3 * float(np.percentile(predict, 95)),
        }
