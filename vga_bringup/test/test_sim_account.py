"""The state that the simulated arm sends, against franky-sim's own account of it."""

import numpy as np
import pinocchio
import pytest
from franky_sim.mujoco_simulator import FrankaMujocoRobot, MujocoSimulator
from vga_bringup.sim.franky_sim_patches.account import WIRE, Account, Message

HOME = (0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854)
SETTLED = 1e-5  # float32 on the wire


class Plain(FrankaMujocoRobot):
    """franky-sim's arm. Poses are copied: else the next call overwrites those already in the account."""

    def kinematics(self, q):
        return super().kinematics(q).copy()


class Accounted(Plain):
    """franky-sim's arm, with our account of it."""

    def __init__(self, home):
        super().__init__(home)
        self.account = Account(self.kinematics, self.d_kinematics)
        self._tracked_state_components = self.account.quantities


def simulator(kind):
    class Simulator(MujocoSimulator):
        def _init(self):
            self.add_robot()
            self._robots[0] = kind(HOME)

    made = Simulator()
    made.init()
    made.start()
    return made


@pytest.fixture
def pair():
    return simulator(Plain), simulator(Accounted)


def velocity(robot, i):
    robot.joint_velocity_control(0.3 * np.sin(i / 100 + np.arange(7)), has_new_command=i % 3 != 1)


def position(robot, i):
    robot.joint_position_control(np.array(HOME) + 0.05 * np.sin(i / 100 + np.arange(7)), has_new_command=i % 4 != 1)


def torque(robot, i):
    robot.torque_control(2 * np.sin(i / 50 + np.arange(7)))


def cartesian_velocity(robot, i):
    robot.cartesian_velocity_control(0.05 * np.sin(i / 100 + np.arange(6)), None)


def elbow(robot, i):
    robot.cartesian_velocity_control(0.05 * np.sin(i / 100 + np.arange(6)), (0.01 * np.sin(i / 100), -1.0))


def cartesian_position(robot, i):
    start = robot.kinematics(np.array(HOME))
    goal = start * pinocchio.exp6(0.03 * np.sin(i / 200 + np.arange(6)))
    robot.cartesian_position_control(pinocchio.SE3ToXYZQUAT(goal), None)


def unpack(state):
    return np.frombuffer(state.pack_state(), WIRE)[0]


def test_the_message_has_the_layout_of_libfrankas_state(pair):
    plain, _ = pair
    robot = plain.robots[0]
    velocity(robot, 0)
    plain.step()
    state, message = robot.state, unpack(robot.state)
    assert WIRE.itemsize == len(state.pack_state())
    for name in WIRE.names:
        if not name.startswith("_"):
            assert message[name] == pytest.approx(np.array(getattr(state, name)), abs=1e-6, rel=1e-6), name


@pytest.mark.parametrize("command", [velocity, position, torque, cartesian_velocity, elbow, cartesian_position])
def test_every_quantity_is_what_franky_sim_accounts(pair, command):
    for i in range(1000):  # filters forget by then what was before
        for simulated in pair:
            command(simulated.robots[0], i)
            simulated.step()
        if i == 0:
            message = Message(pair[1].robots[0].state.pack_state())
    plain, robot = (simulated.robots[0] for simulated in pair)
    robot.account.write(message, robot.inner_state)
    expected, written, told = unpack(plain.state), np.frombuffer(message.bytes, WIRE)[0], unpack(robot.state)
    for name in WIRE.names:
        close = pytest.approx(expected[name], abs=SETTLED * max(1.0, np.abs(np.asarray(expected[name], float)).max()))
        assert told[name] == close, name
        assert written[name] == close, name


def test_a_quantity_that_nobody_settled_is_not_told(pair):
    robot = simulator(Accounted).robots[0]
    with pytest.raises(ValueError, match="not yet finalized"):
        _ = robot.state
    with pytest.raises(ValueError, match="tau_J_d"):
        robot._post_step()
