"""The driver node as others see it: topics, services and actions over DDS, against the simulated arm."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from support.cells import PANDA_FILE, cell_at
from support.driver_process import HOLD, POLICY, TELEOP, DriverProcess, Outsider, RosPolicy
from support.driving import AMPLITUDE
from support.nodes import program
from support.owned import own_address, own_domain
from support.simulated_arm import SimulatedArm
from support.waiting import eventually
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.ros.messages import time_message

ADDRESS, NOBODY = own_address(), own_address()
CELL = cell_at(ADDRESS)


def with_arm(**changes):
    """The cell with something changed in its arm."""
    return CELL.model_copy(update={"arm": CELL.arm.model_copy(update=changes)})


TOO_FAST = with_arm(limits=CELL.arm.limits.model_copy(update={"velocity": [3.0, *CELL.arm.limits.velocity[1:]]}))
TOO_NEAR = with_arm(self_collision=CELL.arm.self_collision.model_copy(update={"clearance": 0.2}))
PANDA = load_cell(PANDA_FILE)
REST = 0.01  # rad/s
GOALS = (bytes([n]) * 16 for n in range(1, 255))


@pytest.fixture(scope="module")
def outsider(ros_domain):
    outsider = Outsider()
    yield outsider
    outsider.close()


@pytest.fixture(scope="module")
def simulated_arm():
    with SimulatedArm(ADDRESS) as simulated:
        yield simulated


@pytest.fixture(scope="module")
def driver(outsider, simulated_arm, tmp_path_factory):
    with DriverProcess(tmp_path_factory.mktemp("driver"), CELL) as driver:
        eventually(outsider.connected, "the driver", 20.0)
        yield driver


@pytest.fixture
def quiet(monkeypatch):
    """A ROS domain for a driver by itself."""
    with own_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        yield


@pytest.fixture
def home(driver, outsider):
    """The arm at home, the driver in HOLD."""
    outsider.go_home()


def stamp(message):
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def moving(outsider, since):
    """Whether the arm has moved since then."""
    return any(np.max(np.abs(m.velocity[:7])) > 0.1 for m in list(outsider.joint_states) if stamp(m) >= since)


def start_moving(outsider):
    """Arms the driver and starts a policy; returns it once the arm moves. Again when heartbeats came late."""
    for _ in range(5):
        answer = outsider.set_mode(POLICY)
        assert answer.success, answer.message
        eventually(lambda: outsider.state.mode == POLICY)
        policy = RosPolicy(outsider, CELL, next(GOALS), AMPLITUDE)
        eventually(lambda policy=policy: moving(outsider, policy.started) or outsider.state.mode == HOLD, "motion", 5.0)
        if outsider.state.mode == POLICY:
            return policy
        assert "no healthy policy heartbeat" in outsider.state.hold_reason
        outsider.go_home()
    pytest.fail("this machine is too busy for 20 heartbeats a second")


def time_to_rest(outsider, end, then):
    """Moves the arm and ends its policy with `end`: seconds until the arm rested for good, the driver in mode `then`.

    Repeats when the machine stalled meanwhile, which says nothing about the driver.
    """
    for _ in range(5):
        outsider.go_home()
        policy = start_moving(outsider)
        ended = end(policy)
        eventually(lambda ended=ended: stamp(outsider.joint_states[-1]) > ended + 1.0, "joint states", 3.0)
        states = [m for m in list(outsider.joint_states) if stamp(m) >= ended]
        if np.max(np.diff([stamp(m) for m in states])) < 0.1 and outsider.state.mode == then:
            return max((stamp(m) - ended for m in states if np.max(np.abs(m.velocity[:7])) > REST), default=0.0)
    pytest.fail(f"never at rest in mode {then}, or this machine is too busy to measure it")


def test_joint_states_and_reference_flow_in_hold(home, outsider):
    start = time.time()
    eventually(lambda: time.time() > start + 2.0)
    states = [m for m in list(outsider.joint_states) if stamp(m) >= start]
    assert len(states) / (stamp(states[-1]) - stamp(states[0])) >= 50
    assert states[-1].name == CELL.joint_state_names
    assert states[-1].position[:7] == pytest.approx(CELL.arm.home, abs=0.02)
    assert states[-1].position[7] == pytest.approx(outsider.grippers[-1].width / 2, abs=1e-3)
    assert np.diff([stamp(m) for m in states]).min() > 0
    assert len([m for m in outsider.grippers if stamp(m) >= start]) >= 20
    reference = outsider.references[-1]
    assert (reference.mode, reference.step) == (HOLD, -1)
    assert np.array(reference.position) == pytest.approx(CELL.arm.home, abs=0.02)


def test_diagnostics_say_how_it_is(driver, outsider):
    eventually(lambda: "/franka_driver: control" in outsider.diagnostics, seconds=3.0)
    values = outsider.diagnostics["/franka_driver: control"]
    for key in ("mode", "hold_reason", "control_command_success_rate", "rejected_nonfinite", "rejected_jump",
                "steps_dropped", "tracking_rms_rad", "loop_rate_hz", "loop_worst_tick_ms", "setting_payload.mass",
                "setting_end_effector", "setting_collision.joint_torque", "setting_speed_scale"):  # fmt: skip
        assert key in values


def test_modes_are_refused_in_words(home, outsider):
    answer = outsider.set_mode(TELEOP)
    assert (answer.success, answer.mode) == (False, HOLD)
    assert "no leader publishes" in answer.message
    assert "no mode 7" in outsider.set_mode(7).message


def test_a_dead_policy_brings_the_arm_to_rest(driver, outsider):
    policies = []

    def kill(policy):
        policies.append(policy)
        return policy.kill()

    assert time_to_rest(outsider, kill, HOLD) <= 0.6
    assert outsider.state.robot_mode == "idle"
    assert "the policy is silent" in outsider.state.hold_reason

    # The policy comes back and goes on with its goal: nothing moves, neither in HOLD nor after arming.
    revived = RosPolicy(outsider, CELL, policies[-1].goal, AMPLITUDE)
    eventually(lambda: outsider.verdicts[-1].reason == "mode")
    assert outsider.set_mode(POLICY).success
    eventually(lambda: outsider.verdicts[-1].reason == "goal")
    seen = len(outsider.verdicts)
    eventually(lambda: len(outsider.verdicts) > seen + 3)
    assert not any(verdict.accepted for verdict in outsider.verdicts[seen:])
    revived.kill()
    assert not moving(outsider, revived.started)


def test_a_policy_whose_clock_is_ahead_brings_the_arm_to_rest(driver, outsider):
    def put_forward(policy):
        outsider.heartbeat(policy.goal, stamp_ns=time.time_ns() + 200_000_000)
        return time.time()

    assert time_to_rest(outsider, put_forward, HOLD) <= 0.6
    assert "clocks differ by" in outsider.state.hold_reason


def test_a_canceled_goal_moves_nothing_more(driver, outsider):
    def cancel(policy):
        ended = policy.kill()
        outsider.heartbeat()
        eventually(lambda: not any(outsider.state.goal_id.uuid), "the end of the goal", 1.0)
        for sequence in range(1000, 1020):  # the policy has not heard of it
            outsider.heartbeat()
            outsider.publish(policy.chunk(sequence))
            time.sleep(0.05)
        return ended

    outsider.verdicts.clear()
    assert time_to_rest(outsider, cancel, POLICY) <= 0.6
    late = [verdict for verdict in outsider.verdicts if verdict.sequence >= 1000]
    assert len(late) % 20 == 0
    assert {verdict.reason for verdict in late[-20:]} == {"goal"}
    again = start_moving(outsider)
    again.kill()


def test_every_chunk_gets_its_verdict(home, outsider):
    first = len(outsider.verdicts)
    policy = start_moving(outsider)
    eventually(lambda: len(outsider.verdicts) >= first + 10)
    policy.kill()
    verdict = next(v for v in outsider.verdicts[first + 5 :] if v.accepted)
    assert bytes(verdict.goal_id.uuid) == policy.goal
    assert verdict.anchor == verdict.t_obs
    steps = {m.step for m in outsider.references if bytes(m.goal_id.uuid) == policy.goal}
    assert steps & set(range(8))


def test_stop_works_while_homing_and_homing_can_be_canceled(home, outsider):
    policy = start_moving(outsider)
    eventually(lambda: np.max(np.abs(np.subtract(outsider.joint_states[-1].position[:7], CELL.arm.home))) > 0.1)
    policy.kill()
    outsider.stop()
    outsider.wait_for_state(lambda state: state.at_rest and state.robot_mode == "idle")
    handle = outsider.send("home", speed_scale=0.02)
    eventually(lambda: not outsider.state.at_rest, seconds=2.0)
    answer = outsider.stop()
    assert answer.success
    success, message = outsider.result(handle, 3.0)
    assert not success
    assert "stopped" in message

    outsider.wait_for_state(lambda state: state.at_rest and state.robot_mode == "idle")
    handle = outsider.send("home", speed_scale=0.02)
    cancel = handle.cancel_goal_async()
    eventually(cancel.done)
    assert not outsider.result(handle, 3.0)[0]
    assert handle.status == 5  # canceled


def test_recover_and_gripper_homing(home, outsider):
    success, message = outsider.result(outsider.send("recover"))
    assert success, message
    success, message = outsider.result(outsider.send("gripper_homing"))
    assert success, message


def test_the_hand_keeps_its_opening_on_the_way_home_and_opens_on_request(home, outsider):
    def close(policy, _):
        chunk = policy.chunk(10_000 + len(outsider.verdicts))
        chunk.gripper_width = [0.0] * len(chunk.gripper_width)
        outsider.publish(chunk)

    assert outsider.set_mode(POLICY).success
    RosPolicy(outsider, CELL, next(GOALS), AMPLITUDE, also=close)
    eventually(lambda: outsider.grippers[-1].width < 0.002, what="a closed hand")
    assert "set HOLD first" in outsider.open_hand().message
    outsider.go_home()
    start = np.add(CELL.arm.home, 0.05).tolist()
    success, message = outsider.result(outsider.send("home", speed_scale=1.0, position=start))
    assert success, message
    assert outsider.grippers[-1].width < 0.002
    eventually(lambda: "closed on nothing" in outsider.judgements["/franka_driver: gripper"])
    assert outsider.open_hand().success
    eventually(lambda: outsider.grippers[-1].width > 0.078)
    eventually(lambda: outsider.judgements["/franka_driver: gripper"] == "ready")


def test_a_killed_driver_stops_the_arm_and_comes_back_into_hold(home, driver, outsider):
    policy = start_moving(outsider)
    driver.signal(signal.SIGKILL)
    before = outsider.joint_states[-1].position[:7]
    policy.kill()
    outsider.states.clear()
    outsider.joint_states.clear()
    driver.start()
    eventually(outsider.connected, "the restarted driver", 20.0)
    assert (outsider.state.mode, outsider.state.hold_reason) == (HOLD, "driver started")
    eventually(lambda: outsider.joint_states)
    first = outsider.joint_states[0]
    assert np.max(np.abs(first.velocity[:7])) < REST
    assert np.max(np.abs(np.subtract(first.position[:7], before))) < 0.3


@pytest.mark.parametrize("again", [False, True])
def test_an_interrupted_driver_decelerates_and_ends(home, driver, outsider, again):
    """Interrupted once, and more than once as by Ctrl-C under `ros2 launch`."""
    policy = start_moving(outsider)
    code, seconds, printed = driver.signal(signal.SIGINT, again)
    policy.kill()
    assert code == 0
    assert seconds <= 2.0
    assert "Traceback" not in printed
    eventually(lambda: outsider.state.at_rest, "its last word", 2.0)
    outsider.states.clear()
    driver.start()
    eventually(outsider.connected, "the restarted driver", 20.0)


def test_a_replay_stops_the_arm_and_keeps_it_in_hold(home, outsider):
    policy = start_moving(outsider)
    clock = outsider.node.create_publisher(Clock, "/clock", 10)
    try:
        outsider.wait_for_state(lambda state: state.mode == HOLD and state.at_rest)
        policy.kill()
        assert "somebody publishes /clock" in outsider.state.hold_reason
        for mode in (POLICY, TELEOP):
            answer = outsider.set_mode(mode)
            assert not answer.success
            assert "replayed time must not move a robot" in answer.message
        assert outsider.set_mode(HOLD).success
    finally:
        outsider.node.destroy_publisher(clock)
    # The driver hears of the end in its own time.
    eventually(lambda: outsider.set_mode(POLICY).success, "the driver to know that the replay has ended", 10.0)
    start_moving(outsider).kill()


def test_a_lost_arm_comes_back(home, driver, outsider, simulated_arm):
    policy = start_moving(outsider)
    simulated_arm.kill()
    eventually(lambda: not outsider.state.connected, "the loss to be noticed", 5.0)
    policy.kill()
    assert "connection lost" in outsider.state.hold_reason
    assert "not connected" in outsider.set_mode(POLICY).message
    simulated_arm.start()
    eventually(outsider.connected, seconds=10.0)
    assert outsider.state.needs_recovery
    success, message = outsider.result(outsider.send("recover"))
    assert success, message
    start_moving(outsider).kill()


@pytest.mark.parametrize(
    ("arguments", "cell", "words"),
    [
        (["use_sim_time:=true"], CELL, "replayed time must not move a robot"),
        ([], None, "parameter 'cell' is missing"),
        (["cell:=/nowhere.yaml"], None, "/nowhere.yaml: cannot be read"),
        ([], TOO_FAST, "arm.limits.velocity: 3 of fr3_joint1 is above 2.62"),
        ([], TOO_NEAR, "arm.self_collision.clearance: at arm.home"),
        ([], PANDA, "arm.model is panda, but franky has libfranka 0.21.2"),
    ],
    ids=["simulated time", "no cell", "no such cell", "limits too wide", "too near itself at home", "another arm"],
)
def test_what_is_refused_at_start(quiet, tmp_path, arguments, cell, words):
    with DriverProcess(tmp_path, cell, *arguments) as process:
        code, printed = process.finish()
    assert code == 2
    assert words in printed
    assert "Traceback" not in printed


def test_an_unreachable_arm_is_one_line_and_no_hang(quiet, tmp_path):
    line = f"nobody answers at {NOBODY} port 1337 (Connection refused); retrying"
    with DriverProcess(tmp_path, cell_at(NOBODY)) as process:
        eventually(lambda: line in process.printed, "the line", 20.0)
        time.sleep(2.5)  # more attempts, but no more lines
        code, seconds, printed = process.signal(signal.SIGTERM)
    assert printed.count(line) == 1
    assert (code, "Traceback" in printed) == (0, False)
    assert seconds <= 2.0


def test_a_failing_callback_ends_the_driver_and_says_where(quiet, tmp_path):
    cell = tmp_path / "cell.yaml"
    cell.write_text(dump_cell(cell_at(NOBODY)))
    ended = subprocess.run(
        [sys.executable, program("driver_that_fails"), "--ros-args", "-p", f"cell:={cell}"],
        capture_output=True,
        text=True,
        timeout=60.0,
    )
    assert ended.returncode == 1
    assert "RuntimeError: out of ideas" in ended.stderr


@contextlib.contextmanager
def leading(outsider):
    """A leader that stands still, 0.5 rad away from home, read 100 times a second."""
    publisher = outsider.node.create_publisher(JointState, "/gello/joint_states", 10)
    ended = threading.Event()

    def lead():
        message = JointState(name=CELL.joint_state_names, position=[*(np.array(CELL.arm.home) + 0.5), 0.04])
        while not ended.wait(0.01):
            message.header.stamp = time_message(time.time_ns())
            publisher.publish(message)

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        outsider.node.destroy_publisher(publisher)


def test_a_person_takes_over_and_hands_back(driver, outsider, home):
    for _ in range(8):  # a busy machine may hold heartbeats up, or the leader
        outsider.go_home()
        assert outsider.set_mode(POLICY).success
        eventually(lambda: outsider.state.mode == POLICY)
        policy = RosPolicy(outsider, CELL, next(GOALS), AMPLITUDE / 3)
        eventually(lambda: outsider.state.mode == HOLD or outsider.references[-1].step >= 0, "a chunk in force", 5.0)
        with leading(outsider):
            time.sleep(0.3)
            answer = outsider.set_mode(TELEOP, keep_goal=True)
            if not answer.success:
                policy.kill()
                continue
            eventually(lambda: outsider.references[-1].mode != POLICY)
            began = len(outsider.references)
            time.sleep(1.0)
            while_led = outsider.references[began:-1]
            back = outsider.set_mode(POLICY, keep_goal=True)
            handed_back = time.time()
        if back.success and {r.mode for r in while_led} == {TELEOP}:
            break
        policy.kill()
    assert answer.message == "TELEOP: the arm follows the leader's motion from where both are"
    assert back.message == "POLICY: the same goal goes on"
    assert {r.mode for r in while_led} == {TELEOP}
    assert {bytes(r.goal_id.uuid) for r in while_led} == {policy.goal}, "who is corrected"
    assert np.ptp([r.position for r in while_led], axis=0).max() < 0.1, "a leader that stands still moves nothing"

    def accepted():
        return [v for v in list(outsider.verdicts) if v.accepted and stamp(v) > handed_back - 0.05]

    eventually(accepted, "an accepted chunk")
    assert stamp(accepted()[0]) - handed_back < 1.0  # a third of it where there is time to spare
    print(f"accepted {stamp(accepted()[0]) - handed_back:.3f} s after the answer to the hand-back")
    reasons = {v.reason for v in outsider.verdicts if bytes(v.goal_id.uuid) == policy.goal and not v.accepted}
    assert reasons <= {"taken_over"}
    assert outsider.state.mode == POLICY
    policy.kill()
