"""The Franka hand without a network: what `robot.gripper` and the simulated hand's server do together, in one clock.

Wanted openings become commands by the same rule, the newest command stops the one under way, and a command ends when
the fingers stand still.
"""

from __future__ import annotations

from vga_policy.cell.schema import Gripper as GripperConfig

from vga_bringup.robot.gripper import EMPTY, PERIOD, Command, Grasp, GripperState, Move, decide
from vga_bringup.sim.franky_sim_patches.robot import DEFAULT_HAND_FORCE, CellRobot

LOOK_EVERY = 0.01  # s between two looks at whether the fingers move
STILL = 2e-5  # m from look to look: fingers slower than this stand
SETTLED = 0.1  # s they must have stood


class Hand:
    """The simulated arm's hand. Call `step` with every control tick; times in seconds, openings in meters."""

    def __init__(self, robot: CellRobot, config: GripperConfig) -> None:
        self._robot = robot
        self._config = config
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """Forgets everything: nothing is wanted and nothing is held."""
        self._wanted: float | None = None
        self._last: Command | None = None
        self._running: Command | None = None
        self._next_turn = now
        self._next_look = now
        self._moved_at = now
        self._before = self._robot.hand_width
        self._grasped = False

    def command(self, width: float) -> None:
        """Asks for an opening; the newest one counts."""
        self._wanted = width

    def step(self, now: float) -> None:
        """Looks at the fingers and commands them, as often as the driver and the hand do."""
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            if abs(self._robot.hand_width - self._before) >= STILL:
                self._moved_at = now
            self._before = self._robot.hand_width
        if self._running is not None and now - self._moved_at >= SETTLED:
            self._grasped = isinstance(self._running, Grasp)
            self._running = None
        if now >= self._next_turn:
            self._next_turn = now + PERIOD
            self._turn(now)

    def state(self, stamp_ns: int) -> GripperState:
        """A reading of the hand."""
        width = self._robot.hand_width
        return GripperState(
            stamp_ns=stamp_ns,
            width=width,
            max_width=self._config.max_width,
            commanded_width=width if self._wanted is None else self._wanted,
            is_grasped=self._grasped and width > EMPTY,
            moving=self._running is not None,
            connected=True,
            problem="",
        )

    def _turn(self, now: float) -> None:
        command = None if self._wanted is None else decide(self._wanted, self._last, self._config)
        if command is None:
            return
        if self._running is not None:  # stopped now, overtaken in the next turn
            self._robot.set_hand_goal(self._robot.hand_width, self._config.speed, DEFAULT_HAND_FORCE)
            self._running = self._last = None
            return
        self._last = self._running = command
        self._moved_at = now
        self._grasped = False
        if isinstance(command, Move):
            self._robot.set_hand_goal(command.width, self._config.speed, DEFAULT_HAND_FORCE)
        else:
            self._robot.set_hand_goal(0.0, self._config.speed, self._config.force)
