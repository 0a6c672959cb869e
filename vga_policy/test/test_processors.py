"""How busy the processors are, as the kernel counts it, and what is said of it."""

import math

import pytest
from vga_policy.processors import Processors

from vga_policy import processors


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """Sets what the kernel has counted, and the time."""
    monkeypatch.setattr(processors, "STAT", tmp_path / "stat")
    clock = [0.0]
    monkeypatch.setattr(processors.time, "monotonic", lambda: clock[0])

    def count(seconds, busy, idle):
        clock[0] = seconds
        (tmp_path / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 {busy} 0\ncpu0 1 1 1 1\n")

    count(0, 0, 0)
    return count


def test_only_the_recent_past_counts(kernel):
    watched, whole = Processors(recent=5.0), Processors(recent=math.inf)
    for second in range(1, 11):  # idle at first, then busy
        kernel(second, max(0, 100 * (second - 4)), 100 * min(second, 4))
        watched.look()
        whole.look()
    assert watched.busy == pytest.approx(1.0)
    assert whole.busy == pytest.approx(0.6)
    assert "processors were 100 % busy, too much for images and chunks to be on time" in watched.overload()
    assert whole.overload() == ""
    assert "processors were 60 % busy" in whole.overload(above=0.5)


def test_the_kernel_of_this_machine_is_read():
    watched = Processors()
    sum(range(10**6))
    assert 0.0 <= watched.busy <= 1.0
