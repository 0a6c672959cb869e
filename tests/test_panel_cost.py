"""What `vga panel` costs while two views stream to a browser: its processor time, and what becomes of the chunks."""

from __future__ import annotations

import time
from contextlib import ExitStack

import numpy as np
import psutil
from support.browser import Browser
from support.panel_process import INSTRUCTION, panel, watched_graph
from vga_bringup.panel.model import Chunks
from vga_policy.ros import topics
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.units import SECOND, nanoseconds

from vga_msgs.msg import ChunkVerdict

STEPS = 100  # of a task, 10 s
TURNS = 2  # of each: without, with, with, without
SHARE = 0.15  # of one core, the most that the panel may take
CHANGE = 0.10  # of chunk rate and capture to command


def chunks_of_a_task(watch):
    """Timing of one task that runs for STEPS."""
    chunks = Chunks()

    def note(verdict):
        observed, decided = nanoseconds(verdict.t_obs) / SECOND, nanoseconds(verdict.header.stamp) / SECOND
        chunks.note(bytes(verdict.goal_id.uuid), verdict.sequence, observed, decided, accepted=verdict.accepted)

    subscription = watch.session.node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, note, 50)
    policy = PolicyClient(watch.session)
    watch.driver.policy()
    policy.run(INSTRUCTION, STEPS)
    watch.driver.hold()
    watch.session.node.destroy_subscription(subscription)
    watch.until(watch.rests, "rest")
    watch.driver.home()
    return chunks.timing()


def test_a_page_that_is_looked_at_costs_little(ros_domain, sim_cell, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    runs = {False: [], True: []}
    shares = []
    with watched_graph(sim_cell, tmp_path / "nodes.log") as watch:
        for turn, beside in enumerate([False, True, True, False] * (TURNS // 2)):
            with ExitStack() as stack:
                if beside:
                    process, address = stack.enter_context(panel(log=tmp_path / f"{turn}.log"))
                    page = stack.enter_context(Browser(tmp_path / f"browser{turn}"))
                    page.open(address)
                    page.until("document.querySelectorAll('img[data-camera]').length === 2", "both views")
                    page.until("!!document.querySelector('ul')", "the doctor's findings")
                    used = psutil.Process(process.pid)
                    before, began = sum(used.cpu_times()[:2]), time.monotonic()
                runs[beside].append(chunks_of_a_task(watch))
                if beside:
                    shares.append((sum(used.cpu_times()[:2]) - before) / (time.monotonic() - began))
    for beside, timings in runs.items():
        for one in timings:
            told = f"{one.rate_hz:.2f} Hz, capture to decision {one.p50_ms:.0f} ms (p95 {one.p95_ms:.0f} ms)"
            print(f"{'with' if beside else 'without'} panel: {told}")
    print(f"panel: {100 * np.mean(shares):.1f} % of one core")
    assert np.mean(shares) <= SHARE
    for figure in ("rate_hz", "p50_ms"):
        without, beside = (np.mean([getattr(one, figure) for one in runs[with_]]) for with_ in (False, True))
        assert abs(beside / without - 1.0) <= CHANGE, f"{figure}: {without:.2f} without, {beside:.2f} with the panel"
