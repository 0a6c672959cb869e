import math

from vga_bringup.camera.clock import Refused
from vga_bringup.camera.statistics import StreamStatistics

SECOND = 1_000_000_000


def test_rate_latency_and_losses():
    statistics = StreamStatistics(now_ns=0)
    for number in (7, 8, 11, 12):
        statistics.received(number)
        statistics.delivered(latency_ns=number * 1_000_000)
    statistics.refused(Refused.NOT_NEWER)
    for _ in range(3):
        statistics.refused(Refused.AHEAD)
    report = statistics.report(2 * SECOND)
    assert (report.fps, report.delivered, report.lost, report.lost_since) == (2, 4, 2, 2)
    assert (report.duplicates, report.ahead) == (1, 3)
    assert (report.latency_ms, report.worst_latency_ms) == (9.5, 12)


def test_a_report_covers_the_time_since_the_last_one():
    statistics = StreamStatistics(now_ns=0)
    statistics.received(1)
    statistics.received(3)
    statistics.delivered(1)
    statistics.report(SECOND)
    report = statistics.report(2 * SECOND)
    assert (report.fps, report.delivered, report.lost, report.lost_since) == (0, 1, 1, 0)
    assert math.isnan(report.latency_ms)


def test_a_restarted_stream_loses_nothing_by_counting_anew():
    statistics = StreamStatistics(now_ns=0)
    statistics.received(100)
    statistics.restarted()
    statistics.received(5)
    statistics.received(6)
    assert statistics.report(SECOND).lost == 0
