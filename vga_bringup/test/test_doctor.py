"""`vga doctor`: what it sees of real sockets, files and processes, and how it fares with nothing to see."""

import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from support.cells import CELLS
from support.nodes import program
from support.owned import own_address
from support.waiting import eventually
from vga_bringup.doctor import cameras, examine, leader, machine, robot, ros
from vga_bringup.doctor.finding import Finding, Health
from vga_bringup.robot.libfranka import ROBOT_PORT
from vga_policy.cell.loading import load_cell

from vga_policy import cli

ADDRESS = own_address()


@pytest.fixture
def lab(monkeypatch):
    """The lab cell with its robot at ADDRESS, which is not to count as a simulated one."""
    monkeypatch.setattr(robot, "is_simulated", lambda cell: False)
    cell = load_cell(CELLS / "lab.yaml")
    return cell.model_copy(update={"arm": cell.arm.model_copy(update={"ip": ADDRESS})})


@pytest.fixture
def listen():
    """Opens TCP ports of ADDRESS as a robot would."""
    sockets = []

    def open_port(port):
        server = socket.create_server((ADDRESS, port), backlog=1)
        server.settimeout(5)
        sockets.append(server)
        return server

    yield open_port
    for server in sockets:
        server.close()


def states(findings):
    return {finding.subject: finding.state for finding in findings}


# --- The robot ---


def test_robot_with_open_fci_is_ready_and_left_alone(lab, listen):
    fci = listen(ROBOT_PORT)
    assert states(robot.arm(lab)) == {"robot": Health.READY, "FCI": Health.READY}
    connection, _ = fci.accept()
    connection.settimeout(5)
    assert connection.recv(1) == b""  # closed at once, without a word of libfranka's protocol
    connection.close()


def test_robot_without_fci_says_to_activate_it(lab):
    findings = list(robot.arm(lab))
    assert states(findings) == {"robot": Health.READY, "FCI": Health.MISSING}  # a refusal is an answer
    assert "activate FCI in Desk" in findings[-1].remedy


def test_silent_robot_is_missing(lab, monkeypatch):
    monkeypatch.setattr(robot, "_connect", lambda ip, port: TimeoutError("timed out"))
    (finding,) = robot.arm(lab)
    assert finding.state == Health.MISSING
    assert "does not answer" in finding.seen
    assert "arm.ip" in finding.remedy


def test_owned_robot_does_not_hang_the_doctor(lab, listen):
    """libfranka serves one client; a second one waits in the queue for ever."""
    listen(ROBOT_PORT)
    owner = socket.create_connection((ADDRESS, ROBOT_PORT))
    started = time.monotonic()
    assert states(robot.arm(lab))["robot"] == Health.READY
    assert time.monotonic() - started < 2 * robot.TIMEOUT + 1
    owner.close()


def test_simulated_cell_needs_no_hardware():
    cell = load_cell(CELLS / "sim.yaml")
    assert robot.is_simulated(cell)
    assert states(cameras.cameras(cell)) == {"cameras": Health.READY}
    elsewhere = cell.model_copy(update={"arm": cell.arm.model_copy(update={"ip": ADDRESS})})
    (finding,) = robot.arm(elsewhere)
    assert (finding.state, finding.remedy) == (Health.ABSENT, "it runs with: vga sim")


@pytest.mark.parametrize(
    ("mode", "state", "remedy"),
    [
        ("idle", Health.READY, ""),
        ("user stopped", Health.MISSING, "release the user stop"),
        ("other", Health.MISSING, "the brakes are closed: unlock the joints in Desk"),
    ],
)
def test_brakes_are_read_from_a_running_driver(lab, monkeypatch, mode, state, remedy):
    hand = {"obeys": True, "connected": True, "message": "ready"}
    seen = {"mode": "HOLD", "reason": "start", "connected": True, "robot_mode": mode, "hand": hand, "settings": ""}
    monkeypatch.setattr(robot, "driver_state", lambda: seen)
    brakes, hand = robot.driven(lab)
    assert (brakes.state, brakes.remedy) == (state, remedy)
    assert (hand.subject, hand.state, hand.seen) == ("hand", Health.READY, "ready")


@pytest.mark.parametrize(
    ("hand", "state", "remedy"),
    [
        ({"obeys": False, "connected": True, "message": "not homed"}, Health.MISSING, "/franka_driver/gripper_homing"),
        ({"obeys": False, "connected": False, "message": "nobody answers"}, Health.MISSING, "plug the hand in"),
        ({"obeys": True, "connected": True, "message": "grasp lost"}, Health.READY, ""),
        (None, Health.UNKNOWN, "try again"),
    ],
)
def test_the_hand_is_read_from_a_running_driver(lab, monkeypatch, hand, state, remedy):
    seen = {"mode": "HOLD", "reason": "start", "connected": True, "robot_mode": "idle", "hand": hand, "settings": ""}
    monkeypatch.setattr(robot, "driver_state", lambda: seen)
    _, finding = robot.driven(lab)
    assert finding.state == state
    assert finding.seen == (hand["message"] if hand else "the driver sent no diagnostics meanwhile")
    assert remedy in finding.remedy


def test_driver_state_comes_from_the_graph(lab, monkeypatch, ros_domain):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    driver = subprocess.Popen([sys.executable, program("publishing_driver")], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout.readline() == "published\n"
        # Discovery can take longer than one look on a busy machine.
        state = eventually(
            lambda: (seen := robot.driver_state()) and seen["hand"] and seen, "the driver's state is seen"
        )
    finally:
        driver.kill()
        driver.wait()
    (finding,) = robot.driven(lab)  # nobody publishes any more
    assert finding.state == Health.UNKNOWN
    hand = {"obeys": False, "connected": True, "message": "not homed"}
    said = {"mode": "HOLD", "reason": "user stop", "connected": True, "robot_mode": "user stopped", "hand": hand}
    assert state == {**said, "settings": "franky.jerk is 7500 (cell: 4500)"}


def test_without_a_cell_that_of_the_running_driver_is_checked(monkeypatch, ros_domain, capsys):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    path = str(CELLS / "sim.yaml")
    command = [sys.executable, program("publishing_driver"), path]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def checked():
        cli.main(["doctor", "--json"])
        report = json.loads(capsys.readouterr().out)
        return report if report["cell"] else None

    try:
        assert driver.stdout.readline() == "published\n"
        report = eventually(checked, "the driver's cell is checked", 60.0)
    finally:
        driver.kill()
        driver.wait()
    findings = {finding["subject"]: finding for finding in report["findings"]}
    assert report["cell"] == "sim"
    assert findings["running graph"]["seen"] == f"a driver runs with {path}: that cell is checked"
    assert findings["cameras"]["seen"] == "rendered: they need no hardware"
    assert findings["brakes, user stop"]["remedy"] == "release the user stop"


def test_settings_that_the_robot_did_not_take_are_a_finding(lab, monkeypatch):
    hand = {"obeys": True, "connected": True, "message": "ready"}
    seen = {"mode": "HOLD", "reason": "start", "connected": True, "robot_mode": "idle", "hand": hand}
    monkeypatch.setattr(robot, "driver_state", lambda: {**seen, "settings": "franky.jerk is 7500 (cell: 4500)"})
    *_, finding = robot.driven(lab)
    assert (finding.state, finding.seen) == (Health.MISSING, "franky.jerk is 7500 (cell: 4500)")
    assert "restart the driver" in finding.remedy


def test_a_home_at_which_the_arm_is_too_near_itself_is_a_finding(lab):
    folded = lab.arm.model_copy(update={"home": [0.0, -1.7, 0.0, -2.9, 0.0, 0.7, 0.8]})
    *_, finding = robot.limits(lab.model_copy(update={"arm": folded}))
    assert (finding.subject, finding.state) == ("self-collision", Health.MISSING)
    assert "arm.self_collision.clearance: at arm.home" in finding.seen
    assert "move arm.home" in finding.remedy


def test_libfranka_is_said_with_the_robots_it_speaks_to(lab, monkeypatch):
    (alone,), (finding,) = robot.libfranka(None), robot.libfranka(lab)
    assert alone == finding
    assert finding.state == Health.READY
    monkeypatch.setattr(robot, "libfranka_version", lambda: "0.9.2")
    (finding,) = robot.libfranka(lab)
    assert finding.state == Health.MISSING
    assert finding.seen == "0.9.2 speaks to a Franka Emika Robot (Panda) of system 4.2.1 or later; arm.model is fr3"
    assert "franky's wheel for libfranka 0.21.2" in finding.remedy
    assert states(robot.libfranka(load_cell(CELLS / "lab_panda.yaml"))) == {"libfranka": Health.READY}


def test_libfranka_that_cannot_be_told(lab, monkeypatch):
    monkeypatch.setattr(robot, "libfranka_version", lambda: "")
    (finding,) = robot.libfranka(lab)
    assert (finding.state, finding.seen) == (Health.UNKNOWN, "franky does not tell its version")
    monkeypatch.setattr(robot, "libfranka_version", libfranka_of_a_gpu_pc)
    assert states(robot.libfranka(lab)) == {"libfranka": Health.ABSENT}


def libfranka_of_a_gpu_pc():
    raise PackageNotFoundError("franky-control")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lab", "Franka Research 3; from -2.69 -1.73 -2.85 -2.99 -2.75 0.6 -2.96 to "
            "2.69 1.73 2.85 -0.21 2.75 4.46 2.96 rad; 1.05 1.05 1.05 1.05 1.25 1.25 1.25 rad/s, "
            "near an end 0.9 of what the arm takes there; 10 7.5 10 10 10 10 10 rad/s²; "
            "franky plans with 9.5 7.125 9.5 9.5 9.5 9.5 9.5 rad/s² and 4500 3375 4500 4500 4500 4500 4500 rad/s³"),
        ("lab_panda", "Franka Emika Robot (Panda); from -2.84 -1.71 -2.84 -3.02 -2.84 0.04 -2.84 to "
            "2.84 1.71 2.84 -0.12 2.84 3.7 2.84 rad; 0.975 0.975 0.975 0.975 1.15 1.15 1.15 rad/s; "
            "10 7.5 10 10 10 10 10 rad/s²; "
            "franky plans with 9.5 7.125 9.5 9.5 9.5 9.5 9.5 rad/s² and 4500 3375 4500 4500 4500 4500 4500 rad/s³"),
    ],
)  # fmt: skip
def test_limits_that_follow_are_said(name, expected):
    (finding,) = robot.limits(load_cell(CELLS / f"{name}.yaml"))
    assert (finding.state, finding.seen) == (Health.READY, expected)


# --- Cameras ---


def test_a_value_of_another_unit_is_a_finding(lab):
    patient = lab.execution.model_copy(update={"heartbeat_timeout": 200.0})
    (finding,) = robot.limits(lab.model_copy(update={"execution": patient}))
    assert (finding.subject, finding.state) == ("cell file", Health.MISSING)
    assert finding.seen == "execution.heartbeat_timeout: 200 s cannot be meant, 5 at most; is it in ms?"


def test_cameras_come_from_librealsense(lab, monkeypatch):
    """No camera has the serial numbers of the shipped file."""
    monkeypatch.setattr(cameras, "is_simulated", lambda cell: False)
    findings = list(cameras.cameras(lab))
    assert set(states(findings).values()) == {Health.MISSING}
    assert "serial 000000000001 is not connected; connected:" in findings[0].seen


def test_each_camera_is_judged_by_serial_and_usb_speed(lab, monkeypatch):
    monkeypatch.setattr(cameras, "is_simulated", lambda cell: False)
    present = {
        "000000000001": {"model": "Intel RealSense D415", "serial": "000000000001", "usb": "3.2"},
        "000000000002": {"model": "Intel RealSense D415", "serial": "000000000002", "usb": "2.1"},
    }
    monkeypatch.setattr(cameras, "connected", lambda: present)
    findings = list(cameras.cameras(lab))
    assert [finding.state for finding in findings] == [Health.READY, Health.MISSING, Health.MISSING]
    assert "USB 3" in findings[1].remedy
    assert "connected: 000000000001, 000000000002" in findings[2].seen
    assert len(list(cameras.cameras(None))) == 2  # without a cell, those that are there


def test_a_camera_that_adjusts_itself_is_named(lab, monkeypatch):
    monkeypatch.setattr(cameras, "is_simulated", lambda cell: False)
    monkeypatch.setattr(cameras, "connected", dict)
    automatic = lab.cameras[1].model_copy(update={"exposure_us": None, "gain": None})
    loose = lab.model_copy(update={"cameras": [lab.cameras[0], automatic, lab.cameras[2]]})
    (finding,) = (finding for finding in cameras.cameras(loose) if finding.subject.endswith("image"))
    assert (finding.subject, finding.state) == ("camera wrist, image", Health.ABSENT)
    assert finding.seen == "adjusts by itself: exposure_us, gain"


def test_an_exposure_longer_than_the_time_between_images_is_named_with_both(lab, monkeypatch):
    monkeypatch.setattr(cameras, "is_simulated", lambda cell: False)
    monkeypatch.setattr(cameras, "connected", dict)
    long = lab.cameras[1].model_copy(update={"exposure_us": 40000.0})
    found = list(cameras.cameras(lab.model_copy(update={"cameras": [lab.cameras[0], long]})))
    (finding,) = (finding for finding in found if "exposure" in finding.subject)
    assert (finding.subject, finding.state) == ("camera wrist, exposure", Health.MISSING)
    assert "40000 us of wrist are longer than the 33333 us between images at 30 fps" in finding.seen
    assert finding.remedy == "in the cell file, lower it, or color.fps"
    assert not [finding for finding in cameras.cameras(lab) if "exposure" in finding.subject]


def test_camera_the_kernel_sees_and_librealsense_does_not(tmp_path):
    assert "plug it" in cameras._hint(tmp_path)
    device = tmp_path / "2-1"
    device.mkdir()
    (device / "idVendor").write_text("8086\n")
    (device / "product").write_text("Intel(R) RealSense(TM) Depth Camera 415\n")
    assert "udev rules" in cameras._hint(tmp_path)


# --- Leader ---


def _with_port(cell, port):
    calibrated = {"port": str(port), "offsets": (0.1,) * 7}
    return cell.model_copy(update={"leader": cell.leader.model_copy(update=calibrated)})


def test_a_leader_as_shipped_is_not_calibrated(lab):
    uncalibrated, _ = leader.leader(lab)
    assert (uncalibrated.state, uncalibrated.remedy) == (Health.MISSING, "vga gello calibrate --cell FILE")


def test_leader_port(lab, tmp_path):
    adapters = tmp_path / "adapters"
    (finding,) = leader.leader(_with_port(lab, tmp_path / "absent"), adapters)
    assert finding.state == Health.MISSING
    assert "does not exist" in finding.seen

    main, end = os.openpty()
    port = tmp_path / "by-id"
    port.symlink_to(os.ttyname(end))
    assert states(leader.leader(_with_port(lab, port), adapters)) == {"leader": Health.READY}

    timer = adapters / port.resolve().name / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16\n")
    (finding,) = leader.leader(_with_port(lab, port), adapters)
    assert (finding.state, finding.remedy) == (Health.MISSING, f"echo 1 | sudo tee {timer}")
    timer.write_text("1\n")
    assert states(leader.leader(_with_port(lab, port), adapters)) == {"leader": Health.READY}
    os.close(main)
    os.close(end)


def test_a_simulated_leader_needs_no_hardware(tmp_path):
    cell = _with_port(load_cell(CELLS / "sim.yaml"), tmp_path / "absent")
    (finding,) = leader.leader(cell)
    assert finding.state is Health.ABSENT
    assert "vga sim --teleop true" in finding.remedy


def test_leader_port_without_permission(lab, tmp_path, monkeypatch):
    port = tmp_path / "port"
    port.touch(stat.S_IRUSR)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open anything
    (finding,) = leader.leader(_with_port(lab, port))
    assert finding.state == Health.MISSING
    assert "dialout" in finding.remedy


# --- The machine ---


def test_realtime_kernel_is_needed_where_the_cell_enforces_it(lab, tmp_path):
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "realtime").write_text("0\n")
    assert states(machine.realtime(lab, tmp_path))["real-time kernel"] == Health.MISSING
    assert states(machine.realtime(None, tmp_path))["real-time kernel"] == Health.ABSENT
    (tmp_path / "kernel" / "realtime").write_text("1\n")
    assert states(machine.realtime(lab, tmp_path))["real-time kernel"] == Health.READY


TRACKING = "C0A80101,192.168.1.1,3,1764000000.1,{offset},0.000012,0.000020,-1.5,0.001,0.02,0.003,0.001,64.2,{leap}\n"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (TRACKING.format(offset="0.000034", leap="Normal"), Health.READY),
        (TRACKING.format(offset="-0.250000", leap="Normal"), Health.MISSING),
        (TRACKING.format(offset="0.000000", leap="Not synchronized"), Health.ABSENT),
        ("506 Cannot talk to daemon\n", Health.UNKNOWN),
        ("", Health.UNKNOWN),
    ],
)
def test_clock_offset(text, state):
    assert machine.read_tracking(text).state == state


def test_shared_memory_absent_or_small(tmp_path):
    assert states(machine.shared_memory(tmp_path / "absent")) == {"shared memory": Health.MISSING}
    assert states(machine.shared_memory(Path("/proc"))) == {"shared memory": Health.MISSING}  # a file system of 0 bytes


def test_other_users_segments_are_named(tmp_path, monkeypatch):
    assert not list(machine.segment_owners(tmp_path / "absent"))
    for name in ("fastrtps_1", "fastrtps_1_el", "fastrtps_port7412", "vga_sim-x"):
        (tmp_path / name).touch()
    assert not list(machine.segment_owners(tmp_path))
    owner = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    (finding,) = machine.segment_owners(tmp_path)
    assert f"files of {owner} (3)" in finding.seen
    assert "run all as one user" in finding.remedy
    assert finding.state is Health.ABSENT


@pytest.mark.parametrize(
    ("rmem", "reach", "state"),
    [
        (212992, "SUBNET", Health.MISSING),
        (212992, "LOCALHOST", Health.ABSENT),
        (212992, None, Health.ABSENT),
        (2147483647, "SUBNET", Health.READY),
    ],
)
def test_buffers_too_small_for_images_over_the_network(tmp_path, monkeypatch, rmem, reach, state):
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    if reach:
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", reach)
    for name, value in (("core/rmem_max", rmem), ("core/rmem_default", rmem), ("ipv4/ipfrag_high_thresh", 134217728)):
        (tmp_path / "net" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "net" / name).write_text(f"{value}\n")
    (finding,) = machine.network_buffers(tmp_path)
    assert finding.state is state
    assert f"net.core.rmem_max {rmem}" in finding.seen
    assert ("sudo sysctl -w net.core.rmem_max=16777216 " in finding.remedy) == (state is not Health.READY)
    assert "ipfrag" not in finding.remedy


def test_buffers_that_a_container_does_not_show(tmp_path):
    (finding,) = machine.network_buffers(tmp_path)
    assert finding.state is Health.UNKNOWN
    assert finding.remedy.startswith("on the host: sysctl net.core.rmem_max")


def test_gpu_driver_that_fails_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert states(machine.gpu()) == {"GPU": Health.ABSENT}
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    program.chmod(0o755)
    assert states(machine.gpu()) == {"GPU": Health.ABSENT}
    program.write_text("#!/bin/sh\necho NVIDIA L40S, 46068 MiB, 570.86\n")
    (finding,) = machine.gpu()
    assert finding == Finding("GPU", Health.READY, "NVIDIA L40S, 46068 MiB, 570.86")


# --- ROS ---


def test_fast_dds_profile(tmp_path, monkeypatch):
    monkeypatch.delenv(ros.PROFILE, raising=False)
    assert states(ros.fast_dds_profile()) == {"Fast DDS profile": Health.ABSENT}
    file = tmp_path / "profile.xml"
    monkeypatch.setenv(ros.PROFILE, str(file))
    for text in (None, "not xml", "<profiles/>"):
        if text is not None:
            file.write_text(text)
        assert states(ros.fast_dds_profile()) == {"Fast DDS profile": Health.MISSING}
    monkeypatch.setenv(ros.PROFILE, str(CELLS.parents[2] / "vga_policy" / "config" / "fastdds.xml"))
    assert states(ros.fast_dds_profile()) == {"Fast DDS profile": Health.READY}


def test_other_middleware_is_named(monkeypatch):
    assert states(ros.environment()) == {"ROS 2": Health.READY}
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    (finding,) = ros.environment()
    assert finding.state == Health.MISSING
    assert "rmw_cyclonedds_cpp" in finding.seen


# --- The command ---


def test_hanging_and_failing_probes_become_rows():
    def hangs():
        time.sleep(60)
        yield from ()

    def fails():
        raise RuntimeError("no such thing")
        yield

    def works():
        yield Finding("disk", Health.READY, "room")

    started = time.monotonic()
    findings = examine({"hangs": hangs, "fails": fails, "works": works}, deadline=0.5)
    assert time.monotonic() - started < 5
    assert [(finding.subject, finding.state) for finding in findings] == [
        ("hangs", Health.UNKNOWN),
        ("fails", Health.UNKNOWN),
        ("disk", Health.READY),
    ]
    assert "no answer" in findings[0].seen
    assert "no such thing" in findings[1].seen


def test_without_a_cell_nothing_is_required(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    subjects = {finding["subject"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert {"robot", "real-time kernel", "clock offset", "disk", "GPU", "ROS 2"} <= subjects


def test_missing_parts_of_a_given_cell_fail_the_command(tmp_path, capsys):
    cell = tmp_path / "cell.yaml"
    port = load_cell(CELLS / "lab.yaml").leader.port
    text = (CELLS / "lab.yaml").read_text()
    nobody = "203.0.113.1"  # of a network reserved for examples
    cell.write_text(text.replace("172.16.0.2", nobody).replace(port, "/dev/absent"))
    assert cli.main(["doctor", "--cell", str(cell)]) == 1
    output = capsys.readouterr().out
    assert "/dev/absent does not exist" in output
    assert "Missing: " in output


def test_wrong_cell_file_is_refused(tmp_path, capsys):
    cell = tmp_path / "cell.yaml"
    cell.write_text((CELLS / "sim.yaml").read_text().replace("slot: 1", "slot: 0"))
    assert cli.main(["doctor", "--cell", str(cell)]) == 2
    assert str(cell) in capsys.readouterr().err


def test_limits_wider_than_the_arms_are_findings_among_the_others(tmp_path, capsys):
    cell = tmp_path / "cell.yaml"
    text = (CELLS / "lab_panda.yaml").read_text()
    cell.write_text(text.replace("velocity: [1.95,", "velocity: [2.5,").replace("172.16.0.2", "127.0.0.1"))
    assert cli.main(["doctor", "--json", "--cell", str(cell)]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    (finding,) = (finding for finding in findings if finding["subject"] == "arm limits")
    assert finding["state"] == "missing"
    assert finding["seen"].startswith("arm.limits.velocity: 2.5 of panda_joint1 is above 2.175, the limit of the")
    assert finding["remedy"] == "values that fit: lab_panda.yaml"
    (finding,) = (finding for finding in findings if finding["subject"] == "libfranka")
    assert finding["state"] == "missing"
