from decimal import Decimal

import numpy as np
import pytest
from vga_bringup.camera.clock import CaptureClock, ClockOffset, Refused, TimestampDomain, milliseconds_to_ns

GLOBAL, HARDWARE, SYSTEM = TimestampDomain.GLOBAL_TIME, TimestampDomain.HARDWARE_CLOCK, TimestampDomain.SYSTEM_TIME
NOW_MS = 1_795_451_526_912.551758
MS = 1_000_000
NOW = milliseconds_to_ns(NOW_MS)


def test_milliseconds_lose_nothing_of_the_double():
    for milliseconds in NOW_MS + np.random.default_rng(0).uniform(0, 1e6, 1000):
        exact = Decimal(float(milliseconds)) * 1_000_000
        assert abs(milliseconds_to_ns(float(milliseconds)) - exact) <= Decimal("0.5")


@pytest.mark.parametrize("domain", [GLOBAL, SYSTEM])
def test_host_clock_timestamps_are_taken_as_they_are(domain):
    assert CaptureClock().stamp(NOW_MS, domain, NOW + 20 * MS) == milliseconds_to_ns(NOW_MS)


def test_frames_not_newer_are_refused_until_a_newer_one_comes():
    clock = CaptureClock()
    stamps = [clock.stamp(NOW_MS + offset, GLOBAL, NOW + 90 * MS) for offset in (0, 0, -5, 33, 20, 66)]
    assert [stamp is not Refused.NOT_NEWER for stamp in stamps] == [True, False, False, True, False, True]


def test_a_host_clock_set_back_does_not_end_the_stream():
    clock = CaptureClock()
    clock.stamp(NOW_MS, GLOBAL, NOW)
    before = NOW_MS - 3_600_000
    assert clock.stamp(before, GLOBAL, milliseconds_to_ns(before)) == milliseconds_to_ns(before)
    assert clock.stamp(before, GLOBAL, milliseconds_to_ns(before)) is Refused.NOT_NEWER


def streamed(shifts, domain=GLOBAL, count=300):
    """Stamps of a 30 fps stream, 20 ms on its way; shifts: ms that frames' timestamps are off, by number."""
    clock, zero = CaptureClock(), NOW_MS if domain is GLOBAL else 5000.0
    for number in range(count):
        since = number * 1000 / 30
        arrival = milliseconds_to_ns(NOW_MS + since + 20)
        yield clock.stamp(zero + since + shifts.get(number, 0.0), domain, arrival)


@pytest.mark.parametrize("domain", [GLOBAL, HARDWARE])
@pytest.mark.parametrize("shift", [100, 300, 900, 1200, 4_292_000, -1200, -900, -300, -3_600_000])
@pytest.mark.parametrize("wrong", [{100}, {0}, {298}, {100, 101, 102, 103, 104}, {100, 150, 200}])
def test_only_wrong_stamps_are_lost(domain, shift, wrong):
    stamps = list(streamed(dict.fromkeys(wrong, shift), domain))
    kept = [stamp for stamp in stamps if not isinstance(stamp, Refused)]
    assert (np.diff(kept) > 0).all()
    refused = {number for number, stamp in enumerate(stamps) if isinstance(stamp, Refused)}
    if domain is GLOBAL:
        assert refused <= wrong
        assert refused == wrong or (shift < 0 and 0 in wrong)
        assert {stamps[number] for number in refused} <= {Refused.AHEAD if shift > 0 else Refused.NOT_NEWER}
    else:
        assert len(refused) <= 2 * len(wrong)


def test_a_camera_whose_stamps_stay_behind_streams_on():
    stamps = list(streamed(dict.fromkeys(range(100, 300), -60000.0)))
    refused = [number for number, stamp in enumerate(stamps) if isinstance(stamp, Refused)]
    assert refused == list(range(100, refused[-1] + 1))
    assert len(refused) <= 3.1 * 30
    assert (np.diff(stamps[refused[-1] + 1 :]) > 0).all()


@pytest.mark.parametrize(("domain", "moved_ms"), [(GLOBAL, 4), (HARDWARE, 4), (SYSTEM, 0)])
def test_stamps_are_mid_exposure_where_the_camera_says_when_that_was(domain, moved_ms):
    readout = CaptureClock().stamp(NOW_MS, domain, NOW)
    middle = CaptureClock().stamp(NOW_MS, domain, NOW, readout_delay_us=4000)
    assert readout - middle == moved_ms * MS


@pytest.mark.parametrize("delay_us", [-4000, 900_000])
def test_an_impossible_readout_delay_is_not_used(delay_us):
    assert CaptureClock().stamp(NOW_MS, GLOBAL, NOW, delay_us) == milliseconds_to_ns(NOW_MS)


def test_hardware_clock_is_mapped_by_the_fastest_transport():
    """15 s of 30 fps, transport 3 ms plus an exponential tail, host clock 50 ppm faster than the camera's."""
    rng, clock, errors_ms = np.random.default_rng(1), CaptureClock(), []
    for camera_ms in np.arange(5000, 20_000, 1000 / 30):
        true_ms = NOW_MS + camera_ms * (1 + 50e-6)
        arrival_ms = true_ms + 3 + rng.exponential(4)
        stamp = clock.stamp(float(camera_ms), HARDWARE, milliseconds_to_ns(arrival_ms))
        assert stamp is not None
        errors_ms.append(stamp * 1e-6 - true_ms)
    settled = np.array(errors_ms[60:])
    assert settled.min() > 2  # never before the fastest transport, less half a millisecond of drift
    assert settled.max() < 4
    assert np.diff(settled).__abs__().max() < 0.5


@pytest.mark.parametrize("restarted_at_ms", [0.0, 12.0])
def test_a_wrapped_or_restarted_camera_clock_gets_a_new_offset(restarted_at_ms):
    clock, wrap_ms = CaptureClock(), 2**32 * 1e-3
    before = clock.stamp(wrap_ms - 10, HARDWARE, milliseconds_to_ns(NOW_MS))
    after = clock.stamp(restarted_at_ms, HARDWARE, milliseconds_to_ns(NOW_MS + 33))
    assert after - before == pytest.approx(33 * MS, abs=1000)


def test_offset_forgets_what_is_older_than_its_window():
    offset, second = ClockOffset(), 1_000_000_000
    assert offset.update(0, 100) == 100
    for camera_ns in range(second, 14 * second, second):
        latest = offset.update(camera_ns, camera_ns + 500)
    assert latest == 500


def test_switching_domains_keeps_stamps_increasing():
    clock = CaptureClock()
    first = clock.stamp(1000.0, HARDWARE, milliseconds_to_ns(NOW_MS + 5))
    second = clock.stamp(NOW_MS + 33, GLOBAL, milliseconds_to_ns(NOW_MS + 38))
    assert first < second == milliseconds_to_ns(NOW_MS + 33)
