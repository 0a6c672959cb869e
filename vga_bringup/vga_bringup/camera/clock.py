"""From a frame's timestamp to the host's system clock.

What a RealSense timestamp means depends on its domain:

- `global_time`: start of the sensor's readout on the camera's clock, converted by librealsense to the host's clock,
  whose offset and drift it measures all the time. The domain to have.
- `hardware_clock`: the same instant on the camera's own clock, which starts at power-up and wraps after 71 minutes.
  Here its offset to the host is estimated (:class:`ClockOffset`).
- `system_time`: the host's time of arrival. All there is when frame metadata does not reach the host.

The instant the image shows is the middle of the exposure. Where the metadata says how long before the readout that was
(frame timestamp less sensor timestamp, both on the camera's clock), stamps are moved back by it; a difference of the
two is free of any clock offset. Arrival times carry no such metadata and stay as they are.
"""

from __future__ import annotations

from enum import StrEnum

from vga_policy.units import SECOND

# Half the longest exposure of a D400; more is a firmware that means something else by its sensor timestamp.
MAX_READOUT_DELAY_NS = 500_000_000
# A capture this long after its arrival is a wrong stamp: librealsense's idea of the two clocks is off by less.
AHEAD_NS = 10_000_000
# Going back further than this may be a host clock set back, not frames out of order.
CLOCK_STEP_NS = SECOND
# For as long, frames further back are wrong stamps; if nothing else comes, the stream goes on from them.
PATIENCE_NS = 3 * SECOND


class Refused(StrEnum):
    """Why a frame has no stamp and must be dropped."""

    NO_IMAGE = "without a new color image"
    NOT_NEWER = "not newer than the frame before"
    AHEAD = "stamped ahead of its arrival"


class TimestampDomain(StrEnum):
    """The clock a frame's timestamp was read from; values are librealsense's names."""

    GLOBAL_TIME = "global_time"
    HARDWARE_CLOCK = "hardware_clock"
    SYSTEM_TIME = "system_time"


def milliseconds_to_ns(milliseconds: float) -> int:
    """Whole nanoseconds of a time in ms, rounded to nearest.

    A time since 1970 in ms fills the 53 bits of a double, so multiplying it by 1e6 would lose up to 128 ns;
    the whole and the fractional part are converted apart.
    """
    whole = int(milliseconds)
    return whole * 1_000_000 + round((milliseconds - whole) * 1e6)


class ClockOffset:
    """Offset between the camera's clock and the host's: the smallest of (arrival − camera time) seen lately.

    The smallest, because transport only ever delays; what remains is the fastest transport, a few ms. Lately, because
    the clocks drift: at 50 ppm, 0.5 ms over the window.
    """

    WINDOW_NS = 10_000_000_000

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._half_started_ns = 0
        self._older_half: int | None = None
        self._newer_half = 0

    def update(self, camera_ns: int, arrival_ns: int) -> int:
        """Takes one frame's times, ns, into account; returns the offset to add to its camera time."""
        offset = arrival_ns - camera_ns
        if self._last_ns is None or camera_ns < self._last_ns:  # first frame, camera restarted or its clock wrapped
            self._older_half, self._newer_half = None, offset
            self._half_started_ns = camera_ns
        elif camera_ns - self._half_started_ns > self.WINDOW_NS // 2:
            self._older_half, self._newer_half = self._newer_half, offset
            self._half_started_ns = camera_ns
        self._last_ns = camera_ns
        self._newer_half = min(self._newer_half, offset)
        return self._newer_half if self._older_half is None else min(self._older_half, self._newer_half)


class CaptureClock:
    """Stamps the frames of one camera: capture times in ns of the host's system clock, increasing, never in the future.

    Only a host clock that was set back makes them go back.
    """

    def __init__(self) -> None:
        self._offset = ClockOffset()
        self._last_ns: int | None = None

    def stamp(
        self, timestamp_ms: float, domain: TimestampDomain, arrival_ns: int, readout_delay_us: int = 0
    ) -> int | Refused:
        """Capture time of a frame, ns, or why it has none; then it leaves no trace.

        timestamp_ms: the frame's timestamp in its domain.
        arrival_ns: host's system clock when the frame was received.
        readout_delay_us: from the middle of the exposure to the frame's timestamp, on the camera's clock; 0 if unknown.
        """
        capture_ns = milliseconds_to_ns(timestamp_ms)
        if domain is TimestampDomain.HARDWARE_CLOCK:
            capture_ns += self._offset.update(capture_ns, arrival_ns)
        delay_ns = readout_delay_us * 1000
        if domain is not TimestampDomain.SYSTEM_TIME and 0 < delay_ns <= MAX_READOUT_DELAY_NS:
            capture_ns -= delay_ns
        if capture_ns > arrival_ns + AHEAD_NS:
            return Refused.AHEAD
        if self._last_ns is not None and capture_ns <= self._last_ns:
            recent = arrival_ns - PATIENCE_NS <= self._last_ns <= arrival_ns + AHEAD_NS
            if recent or self._last_ns - CLOCK_STEP_NS < capture_ns:
                return Refused.NOT_NEWER
        self._last_ns = capture_ns
        return capture_ns
