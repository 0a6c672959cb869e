"""Where the simulated cell's cameras are, found by the board and held against MuJoCo; and what is refused."""

import re
from itertools import islice

import cv2
import numpy as np
import pytest
from support.calibration_rig import LENS, postures, rig_for
from support.cells import SIM, SIM_FILE
from vga_bringup.calibration.album import Album
from vga_bringup.calibration.board import COLUMNS, MILLIMETER, MODULES, ROWS, Board, Sight
from vga_bringup.calibration.calibrate import calibrate
from vga_bringup.calibration.cell_file import as_pose, parent_of, write_pose
from vga_bringup.calibration.poses import REACH, near
from vga_bringup.calibration.solve import CalibrationError, Shot, angle, closed_form
from vga_bringup.robot.bounds.kinematics import Kinematics, rotation
from vga_bringup.robot.safety.safety_filter import SafetyFilter
from vga_bringup.sim.in_process import InProcessCell
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell, parse_cell
from vga_policy.cell.schema.cameras import ColorProfile, PoseCheck

from vga_policy import cli


@pytest.fixture
def rig(request):
    rig = rig_for(request.param)
    yield rig
    rig.close()


def apart(one, other):
    """Distance, m, and angle, degrees."""
    return np.linalg.norm(one[:3, 3] - other[:3, 3]), angle(one[:3, :3].T @ other[:3, :3])


@pytest.mark.parametrize("rig", ["fixed_1", "fixed_2", "wrist"], indirect=True)
def test_a_camera_is_found_where_mujoco_has_it(rig):
    shots = rig.shots(postures(14, seed=3))
    found, truth = calibrate(shots, LENS), rig.truth()
    distance, turn = apart(found.camera, truth)
    assert distance < 0.002
    assert turn < 0.1
    assert found.error < 0.6
    assert not found.doubts
    by_opencv = closed_form(shots, LENS).camera
    assert distance < apart(by_opencv, truth)[0]
    assert apart(by_opencv, found.camera)[0] < 0.05  # the same place, less sharply


@pytest.mark.parametrize("rig", ["fixed_1"], indirect=True)
def test_four_poses_that_are_nearly_one_are_refused(rig):
    with pytest.raises(CalibrationError, match=r"too few different poses: 1 .of 4 pictures 3 repeat one"):
        calibrate(rig.shots(postures(4, seed=5, spread=0.02)), LENS)


CORNERS = np.array([(x, y, 0.0) for y in range(1, ROWS) for x in range(1, COLUMNS)]) * Board().square


def pose(turn=(0, 0, 0), at=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(*np.radians(turn)), at
    return matrix


def seen(turns, noise=0.2, seed=0):
    """What a camera 0.8 m before a hand-held board sees of it, turned by so many degrees about x, y and z."""
    random, shots = np.random.default_rng(seed), []
    camera, board = pose((0, 0, 0), (0.0, 0.0, -0.8)), pose(at=(-0.09, -0.12, 0.0))
    for turn in turns:
        hand = pose(turn, random.uniform(-0.05, 0.05, 3))
        at = np.linalg.inv(camera) @ hand @ board
        pixels, _ = cv2.projectPoints(CORNERS, cv2.Rodrigues(at[:3, :3])[0], at[:3, 3], LENS.matrix, LENS.distortion)
        shots.append(Shot(Sight(CORNERS, pixels.reshape(-1, 2) + random.normal(0, noise, (len(CORNERS), 2))), hand))
    return shots


def turns(count, most, seed=1):
    return np.random.default_rng(seed).uniform(-most, most, (count, 3))


def test_turns_about_one_axis_are_too_similar():
    with pytest.raises(CalibrationError, match=r"too similar: the hand turns by some .*° about one axis"):
        calibrate(seen([(0, 0, 8 * k) for k in range(10)]), LENS)


def test_a_board_at_a_slant_only_is_refused():
    with pytest.raises(CalibrationError, match=r"seen at a slant only: from 6\d° to [78]\d°"):
        calibrate(seen(turns(10, 8) * (0.5, 1, 4) + (0, 70, 0)), LENS)


def test_a_board_that_slipped_is_refused_with_its_pose():
    shots = seen(turns(10, 30))
    shots[6] = Shot(shots[6].sight, shots[6].other @ pose((0, 0, 3), (0.03, 0, 0)))
    with pytest.raises(CalibrationError, match=r"px from where they should be, 2 px may be; worst is pose 7 with"):
        calibrate(shots, LENS)


def test_squares_of_another_size_are_doubted_or_refused():
    shots = [Shot(Sight(1.1 * shot.sight.corners, shot.sight.pixels), shot.other) for shot in seen(turns(10, 30))]
    with pytest.raises(CalibrationError, match="are the squares as large as was said"):
        calibrate(shots, LENS)


def test_the_page_has_the_board_true_to_scale(tmp_path):
    page = tmp_path / "board.pdf"
    assert cli.main(["calibrate", "board", "--square", "30", "--out", str(page)]) == 0
    boxes = np.array(re.findall(rb"(?m)^([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re$", page.read_bytes()), float)
    ruler, board = boxes[-3], boxes[:-3]
    assert ruler[2] == pytest.approx(100 * MILLIMETER)
    assert np.ptp(np.append(board[:, 1], board[:, 1] + board[:, 3])) == pytest.approx(ROWS * 30 * MILLIMETER, abs=1e-3)
    drawn = np.full((ROWS * MODULES * 4 + 80, COLUMNS * MODULES * 4 + 80, 3), 255, np.uint8)
    edge, left, top = 30 / MODULES * MILLIMETER, board[:, 0].min(), (board[:, 1] + board[:, 3]).max()
    for x, y, wide, high in board:
        row, column = round((top - y - high) / edge), round((x - left) / edge)
        drawn[40 + 4 * row : 44 + 4 * row, 40 + 4 * column : 40 + 4 * (column + round(wide / edge))] = 0
    assert len(Board(0.03).find(drawn).corners) == (ROWS - 1) * (COLUMNS - 1)


def test_a_board_too_large_for_the_paper_is_refused(tmp_path, capsys):
    assert cli.main(["calibrate", "board", "--square", "60", "--out", str(tmp_path / "board.pdf")]) == 1
    assert "at most 39 mm" in capsys.readouterr().err


BLOCK = """cameras:
  - name: fixed_1   # left
    serial: "1"     # on the stand
    role: fixed
    slot: 0
"""


def test_a_pose_is_written_and_nothing_else_changes(tmp_path):
    path = tmp_path / "cell.yaml"
    before = SIM_FILE.read_text()
    path.write_text(before)
    written = as_pose(pose((10, 20, 30), (0.1, 0.2, 0.3)), parent_of(SIM.camera("fixed_2"), SIM))
    assert np.allclose(written.rotation, rotation(*np.radians((10, 20, 30))), atol=1e-5)
    write_pose(path, "fixed_2", written)
    assert load_cell(path).camera("fixed_2").pose == written
    changed = [line for line in path.read_text().splitlines() if line not in before.splitlines()]
    assert len(changed) == 1


@pytest.mark.parametrize(
    "pose_before", ["", "    pose:\n      parent: fr3_link1\n      xyz: [0, 0, 0]\n      quaternion: [0, 0, 0, 1]\n"]
)
def test_a_pose_is_written_into_a_camera_of_a_key_a_line(tmp_path, pose_before):
    path = tmp_path / "cell.yaml"
    head, _, _ = SIM_FILE.read_text().partition("cameras:")
    path.write_text(f"{head}{BLOCK}{pose_before}\n# the end\n")
    written = as_pose(pose((0, 0, 90), (1, 2, 3)), "fr3_link0")
    write_pose(path, "fixed_1", written)
    assert load_cell(path).camera("fixed_1").pose == written
    text = path.read_text()
    assert "# left" in text
    assert "# on the stand" in text
    assert "# the end" in text


def test_a_camera_that_the_cell_has_not_is_named(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(SIM_FILE.read_text())
    with pytest.raises(CellError, match="no camera 'left'"):
        write_pose(path, "left", as_pose(np.eye(4), "fr3_link0"))


def test_the_arm_stays_near_turns_about_two_axes_and_is_sent_where_the_driver_goes():
    start = np.array(SIM.arm.home)
    safety, kinematics, here = SafetyFilter(SIM), Kinematics(SIM.arm), start
    hands = [kinematics.links(start)]
    for q in islice(near(SIM, start), 14):
        assert safety.pose_problem(q.tolist()) == ""
        assert safety.way_problem(here, q) == ""
        here = q
        hands.append(kinematics.links(q))
    away = [np.linalg.norm(links.position[-1] - hands[0].position[-1]) for links in hands[1:]]
    assert max(away) < REACH
    turns = [links.rotation[-1] for links in hands]
    apart_by = [angle(one.T @ other) for k, one in enumerate(turns) for other in turns[k + 1 :]]
    assert np.median(apart_by) > 15


def test_an_arm_that_cannot_turn_says_what_is_in_its_way():
    walls = SIM.workspace.model_copy(update={"min": [0.554, -0.7, 0.0], "max": [0.5545, 0.7, 1.1]})
    with pytest.raises(CalibrationError, match=r"cannot turn this way and that from where it is: .*; begin in another"):
        next(near(SIM.model_copy(update={"workspace": walls}), np.array(SIM.arm.home)))


@pytest.mark.parametrize(
    ("task", "camera", "turn"),
    [("board_on_table", "wrist", 0.0), ("board_in_hand", "fixed_1", 0.68), ("board_in_hand", "fixed_2", -1.126)],
)
def test_the_simulated_cell_has_a_board_before_every_camera(task, camera, turn):
    large = ColorProfile(width=640, height=480)
    cameras = [camera.model_copy(update={"color": large}) for camera in SIM.cameras]
    cell = InProcessCell(SIM.model_copy(update={"cameras": cameras}))
    start = np.add(SIM.arm.home, [0, 0, 0, 0, 0, 0, turn])
    cell.reset(task, 0, arm_start=start.tolist())
    album = Album(SIM, camera, Board(), wanted=8)
    corners = album.take(cell.picture(camera).color, start)
    cell.close()
    assert corners == (ROWS - 1) * (COLUMNS - 1)
    assert not album.is_new(start + 0.01)
    assert album.is_new(np.add(start, [0, 0, 0, 0, 0.3, 0, 0]))


def test_the_check_is_written_with_the_pose(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(SIM_FILE.read_text())
    check = PoseCheck(error_px=0.31, poses=15, spread_m=0.0012, spread_deg=0.05, focal=1.003)
    write_pose(path, "wrist", as_pose(np.eye(4), "fr3_hand", check))
    cell = load_cell(path)
    assert cell.camera("wrist").pose.check == check
    assert parse_cell(dump_cell(cell)) == cell
