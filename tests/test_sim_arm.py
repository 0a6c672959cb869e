"""The simulated arm as libfranka sees it: over TCP and UDP, through franky."""

import os
import socket
import struct
import sys
import threading
import time

import franky
import mujoco
import numpy as np
import pytest
from franky_sim.franka_gripper_protocol import GripperCommandStatus
from support.cells import write_cell
from support.owned import own_address
from support.sim_processes import Process, processes_of, shared_memory
from support.waiting import eventually
from vga_bringup.sim.physics.shared import segment_path
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.physics.state import StateReader

ADDRESS = own_address()
TCP = np.array([0.0, 0.0, 0.1034])  # of the tool center point in the hand's frame, m
ABOVE = np.array([0.0, 0.0, 0.12])  # m
EVERYTHING = 0.08  # m, epsilon with which any width is a grasp


class Observer:
    """Sees the cell's true state, through the shared memory the renderer uses."""

    def __init__(self):
        self._reader = StateReader(ADDRESS)
        self.model = compile_model([])
        self.data = mujoco.MjData(self.model)

    def refresh(self):
        snapshot = self._reader.read()
        snapshot.load(self.model, self.data)
        return snapshot

    def position(self, body):
        self.refresh()
        return self.data.body(body).xpos.copy()

    def button_latched(self):
        self.refresh()
        return bool(self.data.userdata[0])


class Cell:
    """The arm in its process, a franky client of it, and an observer."""

    def __init__(self):
        self.observer = Observer()
        self.robot = franky.Robot(ADDRESS, realtime_config=franky.RealtimeConfig.Ignore)
        self.robot.relative_dynamics_factor = 0.5
        self.gripper = franky.Gripper(ADDRESS)
        self.home = [float(q) for q in self.robot.state.q]

    def move(self, q):
        self.robot.move(franky.JointMotion([float(value) for value in q]))

    def reach(self, position, start):
        """Joint angles that bring the downward hand's tool center point to `position`, m, found from `start`."""
        model, data = self.observer.model, mujoco.MjData(self.observer.model)
        hand = model.body("robot0_hand").id
        joints = [model.joint(f"robot0_fr3_joint{number}") for number in range(1, 8)]
        dofs = [int(joint.dofadr[0]) for joint in joints]
        q = np.array(start, float)
        position_jacobian, rotation_jacobian = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        downwards = np.diag([1.0, -1.0, -1.0])
        for _ in range(100):
            data.qpos[[int(joint.qposadr[0]) for joint in joints]] = q
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            rotation = data.xmat[hand].reshape(3, 3)
            point = data.xpos[hand] + rotation @ TCP
            turn = 0.5 * np.cross(rotation, downwards, axis=0).sum(axis=1)
            error = np.concatenate([position - point, turn])
            if np.linalg.norm(error) < 1e-4:
                return q
            mujoco.mj_jac(model, data, position_jacobian, rotation_jacobian, point, hand)
            jacobian = np.vstack([position_jacobian, rotation_jacobian])[:, dofs]
            q += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
        raise AssertionError(f"cannot reach {position}")


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    path = write_cell(tmp_path_factory.mktemp("cell"), ADDRESS)
    with Process(sys.executable, "-m", "vga_bringup.sim.physics.process", "--cell", str(path)) as process:
        eventually(segment_path(ADDRESS, "state").exists, what="the arm")
        eventually(lambda: StateReader(ADDRESS).read().sim_time > 0, what="the first step")
        policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
        yield Cell()
        # libfranka makes the thread that moves the arm a real-time one: later tests' processes would inherit that.
        os.sched_setscheduler(0, policy, parameters)
    assert not process.said("Traceback")
    assert not shared_memory(ADDRESS)
    assert not processes_of(path)


def test_the_state_tells_the_settings(cell):
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned[:3, 3] = 0.0, 0.0, 0.05
    inertia = np.diag([0.001, 0.002, 0.003])
    cell.robot.set_load(0.4, [0.01, 0.02, 0.03], inertia.flatten().tolist())
    cell.robot.set_ee(turned.flatten(order="F").tolist())
    cell.robot.set_k(turned.flatten(order="F").tolist())
    try:
        # A state that was on its way when the last setting was made is still the old one.
        eventually(lambda: np.allclose(cell.robot.state.EE_T_K.matrix, turned, atol=1e-6), what="the setting of K")
        state = cell.robot.state
        assert state.m_load == pytest.approx(0.4)
        assert state.F_x_Cload == pytest.approx([0.01, 0.02, 0.03])
        assert np.array(state.I_load) == pytest.approx(inertia)
        assert state.NE_T_EE.matrix == pytest.approx(turned, abs=1e-6)
    finally:
        cell.robot.set_load(0.0, [0.0] * 3, [0.0] * 9)
        cell.robot.set_ee(np.eye(4).flatten().tolist())
        cell.robot.set_k(np.eye(4).flatten().tolist())


def test_picks_a_cube(cell):
    cube = cell.observer.position("red_cube")
    above = cell.reach(cube + ABOVE, cell.home)
    at = cell.reach(cube, above)
    assert cell.gripper.move(1.0, 0.1), "a width beyond the range is clamped"
    assert cell.gripper.width == pytest.approx(0.08, abs=1e-3)
    cell.move(above)
    cell.move(at)
    assert cell.gripper.grasp(0.0, 0.1, 20.0, epsilon_inner=EVERYTHING, epsilon_outer=EVERYTHING)
    assert cell.gripper.is_grasped
    assert cell.gripper.width == pytest.approx(0.045, abs=1e-3)
    cell.move(above)
    cell.move(cell.home)
    lifted = cell.observer.position("red_cube")
    assert lifted[2] > cube[2] + 0.3
    cell.move(above)
    cell.move(at)
    assert cell.gripper.move(0.08, 0.1)
    cell.move(above)
    assert cell.observer.position("red_cube") == pytest.approx(cube, abs=0.01)


def test_presses_the_button(cell):
    button = cell.observer.position("button")
    above = cell.reach(button + ABOVE, cell.home)
    cell.gripper.move(0.0, 0.1)
    cell.move(above)
    assert not cell.observer.button_latched()
    cell.move(cell.reach(button + ABOVE / 4, above))
    cell.move(above)
    assert cell.observer.button_latched()
    cell.move(cell.home)


def test_a_grasp_of_nothing_is_unsuccessful_and_no_error(cell):
    cell.gripper.move(0.08, 0.1)
    assert cell.gripper.grasp(0.04, 0.1, 20.0, epsilon_inner=0.005, epsilon_outer=0.005) is False
    assert not cell.gripper.is_grasped


class RawGripper:
    """The gripper's protocol without libfranka, whose waiting calls hold up the next one for seconds at times."""

    HEADER = struct.Struct("<HII")
    CONNECT, MOVE, STOP = 0, 3, 4

    def __init__(self):
        self._socket = socket.create_connection((ADDRESS, 1338), timeout=10)
        self._states = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._states.bind((ADDRESS, 0))
        self.send(self.CONNECT, 0, struct.pack("<HH", 3, self._states.getsockname()[1]))
        assert self.answer()[:2] == (self.CONNECT, 0)

    def send(self, command, number, payload=b""):
        self._socket.sendall(self.HEADER.pack(command, number, self.HEADER.size + len(payload)) + payload)

    def answer(self):
        """The next answer: command, its number, status."""
        command, number, size = self.HEADER.unpack(self._receive(self.HEADER.size))
        return command, number, struct.unpack_from("<H", self._receive(size - self.HEADER.size))[0]

    def close(self):
        self._socket.close()
        self._states.close()

    def _receive(self, size):
        return self._socket.recv(size, socket.MSG_WAITALL)


def test_a_superseded_gripper_command_is_answered(cell):
    cell.gripper.move(0.08, 0.1)
    del cell.gripper  # one client at a time
    gripper = RawGripper()
    gripper.send(gripper.MOVE, 1, struct.pack("<dd", 0.0, 0.02))
    gripper.send(gripper.MOVE, 2, struct.pack("<dd", 0.01, 0.02))
    assert gripper.answer() == (gripper.MOVE, 1, GripperCommandStatus.kAborted)
    gripper.send(gripper.STOP, 3)
    assert gripper.answer() == (gripper.MOVE, 2, GripperCommandStatus.kAborted)
    assert gripper.answer() == (gripper.STOP, 3, GripperCommandStatus.kSuccess)
    gripper.send(gripper.MOVE, 4, struct.pack("<dd", 0.08, 0.1))
    assert gripper.answer() == (gripper.MOVE, 4, GripperCommandStatus.kSuccess)
    gripper.close()
    cell.gripper = franky.Gripper(ADDRESS)
    assert cell.gripper.width == pytest.approx(0.08, abs=1e-3)


def test_guiding_mode_is_acknowledged(cell):
    cell.robot.set_guiding_mode([True] * 6, False)
    assert cell.robot.state.q == pytest.approx(cell.home, abs=0.05)


def test_an_unreadable_request_costs_its_sender_the_connection_and_nobody_else(cell):
    del cell.gripper  # one client at a time
    with socket.create_connection((ADDRESS, 1338), timeout=10) as stranger:
        stranger.sendall(struct.pack("<HII", 999, 1, 10))
        assert stranger.recv(1) == b"", "disconnected"
    cell.gripper = franky.Gripper(ADDRESS)
    assert cell.gripper.move(0.04, 0.1)
    assert cell.robot.state.q == pytest.approx(cell.home, abs=0.05)


def test_keeps_up_with_real_time_while_it_is_driven(cell):
    """Real-time factor with a client; 0.97 and more on an idle computer, and this one may have much else to do."""
    stopping = threading.Event()

    def drive():
        started = time.monotonic()
        while not stopping.is_set():
            speed = 0.2 * np.sin(3 * (time.monotonic() - started))
            cell.robot.move(
                franky.JointVelocityMotion([0.0, 0.0, 0.0, 0.0, 0.0, float(speed), float(speed)], franky.Duration(300)),
                asynchronous=True,
            )
            time.sleep(0.01)
        cell.robot.join_motion()  # it ends by itself when the commands cease

    thread = threading.Thread(target=drive)
    thread.start()
    first = cell.observer.refresh()
    eventually(lambda: cell.observer.refresh().sim_time > first.sim_time + 3.0, what="3 simulated seconds")
    last = cell.observer.refresh()
    stopping.set()
    thread.join()
    assert 0.5 < (last.sim_time - first.sim_time) / (last.wall_time - first.wall_time) < 1.02
