"""Twenty stops from the page of `vga panel`, while the policy moves the arm."""

from __future__ import annotations

import numpy as np
from support.browser import Browser
from support.panel_process import INSTRUCTION, STOPS_WITHIN, panel, stopped_from, watched_graph

HELD_WITHIN = 0.15  # s from the click, p95
STOPS = 20


def test_twenty_stops_from_the_page_hold_at_once(ros_domain, sim_cell, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with (
        watched_graph(sim_cell, tmp_path / "nodes.log") as watch,
        panel(log=tmp_path / "panel.log") as (_, address),
        Browser(tmp_path / "browser") as page,
    ):
        page.open(address)
        page.type("input[aria-label=instruction]", INSTRUCTION)
        stops = np.array([stopped_from(watch, page, turn) for turn in range(STOPS)])
    held, rest = stops.T
    p50, p95 = 1e3 * np.quantile(held, (0.5, 0.95))
    print(f"click to HOLD: p50 {p50:.0f} ms, p95 {p95:.0f} ms; then at rest within {1e3 * rest.max():.0f} ms")
    assert np.quantile(held, 0.95) <= HELD_WITHIN
    assert rest.max() <= STOPS_WITHIN
