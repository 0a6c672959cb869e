"""The simulated leader by keys: from a terminal to the arm and into an episode, through servos and reader."""

import os
import pty
from contextlib import suppress
from pathlib import Path

import mujoco
import numpy as np
import pytest
from support.cells import SIM
from vga_bringup.collect.in_process_bag import InProcessBag
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.sim.expert.scripted_expert import Leader
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.leader.bus import LeaderBus
from vga_bringup.sim.leader.keys import (
    ACCELERATION,
    FINE,
    HAND_SPEED,
    LOWEST,
    MOMENT,
    SPEED,
    TURN_SPEED,
    DrivenHand,
    Keys,
    Wish,
)
from vga_bringup.sim.leader.person import Person, servo_ticks
from vga_bringup.sim.physics.state import PUBLIC_STATE, Snapshot
from vga_policy.bags.reader import Bag
from vga_policy.message_constants import Mode
from vga_teleop.gello.bus import Bus, ReadError
from vga_teleop.gello.joints import Conversion
from vga_teleop.session.buttons import Terminal

REST = Wish()
KINEMATICS = Kinematics(SIM.arm)
HOME = np.array(SIM.arm.home)
PERIOD = 0.01


@pytest.fixture
def terminal():
    """A terminal, and the keyboard it is typed on."""
    keyboard, screen = pty.openpty()
    with os.fdopen(screen, "rb", buffering=0) as stream, Terminal(stream) as terminal:
        yield terminal, lambda text: os.write(keyboard, text.encode())
    os.close(keyboard)


def test_a_press_counts_for_a_moment_and_a_held_key_goes_on(terminal):
    terminal, type_ = terminal
    keys = Keys()
    type_("w")
    keys.press(terminal.typed(), 0.0)
    assert keys.wish(MOMENT - 0.01).axes == (1.0, 0.0, 0.0, 0.0)
    assert keys.wish(MOMENT).axes == REST.axes
    for now in np.arange(0.5, 1.5, 0.03):  # as a terminal repeats it
        type_("w")
        keys.press(terminal.typed(), now)
        assert keys.wish(now + 0.02).axes[0] == 1.0
    assert keys.wish(1.5 + MOMENT) == REST, "let go, it stops"


@pytest.mark.parametrize(
    ("typed", "axes", "closed"),
    [
        ("s", (-1.0, 0.0, 0.0, 0.0), False),
        ("\x1b[A", (1.0, 0.0, 0.0, 0.0), False),
        ("\x1b[C\x1b[B", (-1.0, -1.0, 0.0, 0.0), False),
        ("ws", (-1.0, 0.0, 0.0, 0.0), False),
        ("RQ", (0.0, 0.0, FINE, FINE), False),
        ("wadx", (0.0, 0.0, 0.0, 0.0), False),
        (" e", (0.0, 0.0, 0.0, -1.0), True),
        ("  ", (0.0, 0.0, 0.0, 0.0), False),
        ("zü\x1b[H1\n", (0.0, 0.0, 0.0, 0.0), False),
    ],
)
def test_what_keys_mean(terminal, typed, axes, closed):
    terminal, type_ = terminal
    type_(typed)
    keys = Keys()
    keys.press(terminal.typed(), 1.0)
    assert keys.wish(1.0) == Wish(axes, closed)


def driven(wishes, q=HOME):
    """Tool positions and openings of a hand that is asked for each wish for one period."""
    hand = DrivenHand(SIM, 0.0, q, 0.08)
    poses = [hand.move((turn + 1) * PERIOD, wish) for turn, wish in enumerate(wishes)]
    return np.array([pose.q for pose in poses]), np.array([pose.width for pose in poses])


def test_the_hand_keeps_its_speed_and_comes_to_rest():
    q, _ = driven([Wish((1.0, 1.0, -1.0, 1.0))] * 100 + [REST] * 100)
    tool = KINEMATICS.tcp(q)
    speed = np.diff(tool.position, axis=0) / PERIOD
    assert np.abs(speed).max() == pytest.approx(SPEED, rel=0.05)
    assert np.abs(np.diff(speed, axis=0)).max() / PERIOD < 1.5 * ACCELERATION
    assert np.abs(speed[-1]).max() < 0.01
    turned = np.arctan2(tool.rotation[:, 1, 0], tool.rotation[:, 0, 0])
    assert np.diff(np.unwrap(turned)).max() / PERIOD == pytest.approx(TURN_SPEED, rel=0.1)
    joints = np.abs(np.diff(q, axis=0)) / PERIOD
    assert (joints.max(axis=0) < SIM.arm.limits.velocity).all(), "the driver has nothing to limit"


def test_the_hand_stays_above_the_table_and_within_reach():
    q, _ = driven([Wish((0.0, 0.0, -1.0, 0.0))] * 600)
    assert KINEMATICS.tcp(q[-1]).position[2] == pytest.approx(LOWEST, abs=1e-3)
    q, _ = driven([Wish((1.0, 0.0, 0.0, 0.0))] * 800 + [Wish((-1.0, 0.0, 0.0, 0.0))] * 200)
    x = KINEMATICS.tcp(q).position[:, 0]
    assert x[-1] < x[:800].max() - 0.1, "it comes back at once from where the arm ends"


def test_the_hand_closes_and_opens():
    _, width = driven([Wish(closed=True)] * 100 + [REST] * 100)
    assert width[99] == 0.0
    assert width[-1] == SIM.gripper.max_width
    assert np.abs(np.diff(width)).max() <= HAND_SPEED * PERIOD + 1e-9


@pytest.mark.parametrize("axes", [(), (1.0,), (np.nan, np.inf, -np.inf, 5.0), (0.0,) * 12])
def test_a_strange_joystick_moves_no_faster(axes):
    q, _ = driven([Wish(axes)] * 50)
    assert np.isfinite(q).all()
    assert np.abs(np.diff(KINEMATICS.tcp(q).position, axis=0)).max() <= 1.1 * SPEED * PERIOD


@pytest.fixture(scope="module")
def cell():
    cell = InProcessCell(SIM)
    yield cell
    cell.close()


def seen(cell):
    model, data = cell.simulator.model, cell.simulator.data
    state = np.empty(mujoco.mj_stateSize(model, PUBLIC_STATE))
    mujoco.mj_getState(model, data, state, PUBLIC_STATE)
    return Snapshot(0.0, state)


def answered(bus):
    """A reading; asks again, as the leader's reader does, where the machine was too busy to answer in time."""
    for _ in range(100):
        with suppress(ReadError):
            return bus.read()
    raise AssertionError("the servos do not answer")


def test_a_persons_keys_move_the_arm_and_are_recorded(cell, terminal, tmp_path):
    """Keys, servos behind their port, the leader's own reader, teleoperation, arm, and a bag of all that."""
    terminal, type_ = terminal
    leader = SIM.leader.model_copy(update={"port": str(tmp_path / "leader")})
    cell.reset("pick_cube", 1, Mode.TELEOP)
    person, keys, conversion = Person(SIM, cell.simulator.model), Keys(), Conversion(SIM, leader)
    bag = InProcessBag(tmp_path / "episode_0.mcap", SIM, 1_700_000_000_000_000_000, depth=False)
    cell.on_tick = bag.tick
    with LeaderBus(Path(leader.port), leader.baudrate, leader.ids) as servos, Bus(leader) as bus:
        for turn in range(500):
            now = turn * PERIOD
            if 1.0 <= now < 3.0 and turn % 3 == 0:
                type_("\x1b[A" if now < 2.0 else "a")
            if turn == 320:
                type_(" ")
            keys.press(terminal.typed(), now)
            followed = now >= 0.5
            hand = person.act(seen(cell), ("pick_cube", 1), followed=followed, recorded=True, wish=keys.wish(now))
            servos.turn_to(servo_ticks(SIM, leader, hand))
            pose = conversion(answered(bus).ticks)
            cell.lead(pose.q, pose.width)
            bag.leader(round(cell.now * 1e9), Leader(*pose))
            cell.step(PERIOD)
    bag.close()
    cell.on_tick = lambda _: None
    with Bag(tmp_path) as recorded:
        positions = np.array([message.position for message in recorded.messages("/joint_states")])
    x, y, z = np.diff(KINEMATICS.tcp(positions[[50, 210, 499], :7]).position, axis=0).T
    assert x == pytest.approx((0.13, 0.02), abs=0.03), "forward for a second"
    assert y == pytest.approx((0.0, 0.15), abs=0.03), "then left"
    assert np.abs(z).max() < 0.01
    assert (positions[300, 7], positions[499, 7]) == (pytest.approx(0.04, abs=2e-3), pytest.approx(0.0, abs=2e-3))
    assert not cell.problem
    assert np.abs(np.diff(positions[330:, :7], axis=0)).max() < 2e-3, "nobody presses: it rests"
