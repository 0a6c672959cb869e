"""Calibration of a leader mounted in any way, and what it writes into the cell file."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cells import CELLS, HOME, SIM, SIM_FILE
from vga_bringup.sim.leader.bus import LeaderBus
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cli import main
from vga_teleop.gello.calibration import CalibrationError, find_offsets, find_sign, gripper_range
from vga_teleop.gello.calibration_dialogue import SAMPLES, run
from vga_teleop.gello.cell_file import write_leader
from vga_teleop.gello.joints import Conversion

LAB = CELLS / "lab.yaml"
TICK = 2 * np.pi / 4096

quarters = st.lists(st.integers(-6, 6), min_size=7, max_size=7).map(lambda n: np.pi / 2 * np.array(n))
signs = st.lists(st.sampled_from([-1, 1]), min_size=7, max_size=7).map(np.array)
inexact = st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7).map(np.array)


@given(quarters, signs, inexact)
def test_a_pose_held_roughly_gives_the_offsets_exactly(mounted, sign, error):
    found = find_offsets(mounted + sign * (HOME + error), HOME, sign)
    assert (np.abs(found.offsets) <= np.pi + 1e-9).all()
    np.testing.assert_allclose(np.cos(found.offsets - mounted), 1.0)
    np.testing.assert_allclose(found.residuals, error, atol=1e-9)


def test_another_pose_is_refused_by_its_joint_unless_taken_as_it_is():
    shown = HOME + np.array([0, 0, 0.5, 0, 0, 0, 0])
    with pytest.raises(CalibrationError, match=r"joint 3 by \+0.50 rad"):
        find_offsets(shown, HOME, np.ones(7))
    assert find_offsets(shown, HOME, np.ones(7), exact=True).offsets[2] == pytest.approx(0.5)


def test_signs_come_from_the_joint_that_was_turned():
    moved = np.zeros(7)
    assert find_sign(np.zeros(7), moved, 2) is None
    moved[2] = -0.5
    assert find_sign(np.zeros(7), moved, 2) == -1
    with pytest.raises(CalibrationError, match="joint 3 was turned, not joint 5"):
        find_sign(np.zeros(7), moved, 4)
    moved[3] = 0.4
    with pytest.raises(CalibrationError, match="other joints were turned along"):
        find_sign(np.zeros(7), moved, 2)


def test_the_trigger_must_move():
    assert gripper_range(3.4 + 2 * np.pi, 2.5 + 2 * np.pi) == pytest.approx((3.4 - 2 * np.pi, 2.5 - 2 * np.pi))
    with pytest.raises(CalibrationError, match="hardly moved"):
        gripper_range(1.0, 1.1)


@pytest.fixture
def lab(tmp_path):
    """The shipped lab cell with a port of our own."""
    path = tmp_path / "lab.yaml"
    text = LAB.read_text()
    port = load_cell(LAB).leader.port
    path.write_text(text.replace(port, str(tmp_path / "leader")))
    return path


class Hands:
    """Somebody who does what the dialogue asks with a leader mounted like this; clumsy at first if so wished."""

    def __init__(self, bus, offsets, signs, *, clumsy=False):
        self._bus, self._offsets, self._signs, self._clumsy = bus, np.array(offsets), np.array(signs), clumsy
        self._q, self._trigger, self._turned = np.zeros(7), 5.0, 0
        self._hold()

    def _hold(self):
        angles = np.append(self._signs * self._q + self._offsets, self._trigger)
        self._bus.turn_to(np.round(angles / TICK).astype(int).tolist())

    def __call__(self, request):
        if request.startswith("Joint"):
            # The person has pressed Enter and turns the joint while the program watches.
            joint = int(request.split(":")[0].split()[1]) - 1
            if self._clumsy and joint == 2:
                self._clumsy, joint = False, 3
            q = self._q.copy()
            q[joint] += 0.6
            self._later(q)
        elif request.startswith("Hold"):
            self._q, self._trigger = HOME + 0.05, 5.0
            self._hold()
        else:
            self._trigger = 5.9
            self._hold()

    def _later(self, q):
        """Turns when the program has seen how the leader was held."""
        watched = self._bus.answered + SAMPLES + 1

        def turn():
            while self._bus.answered < watched:
                time.sleep(0.005)
            self._q = q
            self._hold()

        threading.Thread(target=turn, daemon=True).start()


@pytest.mark.parametrize("clumsy", [False, True])
def test_the_dialogue_calibrates_a_leader_and_changes_nothing_else(lab, clumsy):
    before, text = load_cell(lab), lab.read_text()
    offsets, mounted = np.pi / 2 * np.array([1, 0, 2, -1, 0, 1, 2]), [1, -1, 1, 1, -1, 1, -1]
    said = []
    with LeaderBus(Path(before.leader.port), before.leader.baudrate, before.leader.ids) as bus:
        hands = Hands(bus, offsets, mounted, clumsy=clumsy)
        assert run(lab, before.leader, SIM.arm.home, ask=hands, say=said.append) == 0
    after = load_cell(lab)
    assert after.leader.signs == mounted
    np.testing.assert_allclose(np.cos(np.array(after.leader.offsets) - offsets), 1.0, atol=1e-6)
    assert any("was turned, not joint 3" in line for line in said) == clumsy
    assert after.model_copy(update={"leader": before.leader}) == before
    changed = [
        (old, new) for old, new in zip(text.splitlines(), lab.read_text().splitlines(), strict=True) if old != new
    ]
    assert len(changed) == 4
    assert all(
        new.strip().split(":")[0] in ("offsets", "signs", "gripper_closed", "gripper_open") for _, new in changed
    )

    angles = np.array(mounted) * HOME + offsets
    pose = Conversion(after, after.leader)(np.round(np.append(angles, 5.9) / TICK).astype(np.int64))
    np.testing.assert_allclose(pose.q, HOME, atol=2e-3)
    assert pose.width == 0.0


def test_a_section_that_cannot_be_edited_is_left_alone_with_the_values_to_set(tmp_path):
    path = tmp_path / "cell.yaml"
    text = SIM_FILE.read_text()
    start = text.index("  offsets: [")
    path.write_text(text[:start] + "  offsets:\n" + "  - 0.0\n" * 7 + text[text.index("\n", start) + 1 :])
    before = path.read_text()
    with pytest.raises(CellError, match=r"set it by hand: offsets: \[1.0, 1.0"):
        write_leader(path, {"offsets": [1.0] * 7})
    assert path.read_text() == before


def test_comments_behind_a_value_stay(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(SIM_FILE.read_text().replace("gripper_open: 2.5", "gripper_open: 2.5   # let go"))
    write_leader(path, {"gripper_open": 2.25})
    assert "gripper_open: 2.25   # let go" in path.read_text()


def test_ping_lists_servos_and_finds_the_baud_rate(lab, capsys):
    leader = load_cell(lab).leader
    with LeaderBus(Path(leader.port), 57600, leader.ids[:7]):
        assert main(["gello", "ping", "--cell", str(lab)]) == 1
    printed = capsys.readouterr().out
    assert "servo   7  model 1200  firmware 52  joint 7" in printed
    assert "no answer from 8" in printed
    assert "set leader.baudrate to 57600" in printed


@pytest.mark.parametrize("action", ["ping", "calibrate", "watch"])
def test_without_a_leader_the_command_says_so_in_a_line(lab, action, capsys):
    assert main(["gello", action, "--cell", str(lab)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
