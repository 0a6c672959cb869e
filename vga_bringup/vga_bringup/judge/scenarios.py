"""What the driver is put through, by name. A scenario begins wherever the arm is; more are added with `@scenario`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from vga_bringup.judge.bench import Bench, Ending
from vga_bringup.judge.motions import AMPLITUDE, ELSEWHERE, RandomChunks, TowardEnd, ends, fast_sine, leader, sine

Scenario = Callable[[Bench], None]
SCENARIOS: dict[str, Scenario] = {}

CHUNKS = 125  # accepted random ones in a scenario of full length
PERIOD = 0.1  # s between chunks, about
PATIENCE = 4  # times as long as it would take if every chunk were accepted


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Enters a function under `name`."""

    def enter(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return enter


@scenario("home")
def home(bench: Bench) -> None:
    """Homing at the cell's full speed, to postures far apart."""
    for posture in (*map(np.array, ELSEWHERE), None):
        bench.home(posture)


@scenario("slow_sine")
def slow_and_narrow_sine(bench: Bench) -> None:
    """A policy that commands a slow sine."""
    bench.home()
    bench.follow(sine(bench.home_posture, AMPLITUDE, 0.5), bench.seconds(8.0))


@scenario("fast_sine")
def fast_and_wide_sine(bench: Bench) -> None:
    """A policy that commands a fast and wide sine."""
    bench.home()
    bench.follow(fast_sine(bench.cell), bench.seconds(8.0))


@scenario("random")
def random_chunks(bench: Bench) -> None:
    """Random receding chunks, as bold as they are accepted."""
    wanted = len(bench.times(CHUNKS))
    accepted, source = 0, RandomChunks(bench.cell, bench.rng)
    end = monotonic() + PATIENCE * PERIOD * wanted
    while accepted < wanted and monotonic() < end:  # a robot that stops by itself is recovered and goes on
        bench.home()
        accepted += bench.recede(source, end - monotonic(), wanted - accepted)


@scenario("ends")
def to_the_ends(bench: Bench) -> None:
    """Chunks towards each end of each joint, as fast as they are accepted."""
    for end in ends(bench.cell):
        if bench.home(end.start):
            bench.recede(TowardEnd(bench.cell, end), 6.0)


@scenario("stops")
def abrupt_stops(bench: Bench) -> None:
    """Heartbeats that end, stops and homing that is canceled, at speed and at random instants."""
    endings: tuple[Ending, ...] = ("silence", "stop")
    for ending in endings:
        for _ in bench.times(4):
            bench.home()
            bench.follow(fast_sine(bench.cell), bench.rng.uniform(1.0, 2.0), ending)
    for _ in bench.times(4):
        bench.home()
        bench.home(np.array(ELSEWHERE[0]), stop_after=bench.rng.uniform(0.3, 0.9))


@scenario("modes")
def modes(bench: Bench) -> None:
    """POLICY and HOLD in quick succession, at speed, each time with a new goal."""
    bench.home()
    speed = 0.6 * bench.cell.arm.max_velocity
    for turn in bench.times(24):
        if bench.faulty:
            bench.home()
        with bench.policy(rest=False) as goal:
            if goal is not None:
                towards = np.sign(bench.home_posture - bench.reference()[0] + 1e-9)
                bench.swing(goal, towards * bench.rng.uniform(0.3, 1.0, 7) * speed, 4 + turn % 3)
        bench.pause(bench.rng.uniform(0.0, 0.15))
    bench.ready()


@scenario("teleop")
def teleoperation(bench: Bench) -> None:
    """A leader that jumps, shakes and reaches beyond the ends."""
    seconds = bench.seconds(20.0)
    bench.teleoperate(leader(bench.cell, bench.rng, seconds), seconds)


@scenario("hold_up")
def held_up_loop(bench: Bench) -> None:
    """The driver's control loop held up at speed, for 30 to 500 ms."""
    for gap in (0.03, 0.06, 0.1, 0.2, 0.35, 0.5):
        bench.home()
        wait = bench.start_homing(np.array(ELSEWHERE[0]))
        bench.pause(0.5)
        bench.hold_up(gap)
        wait()
