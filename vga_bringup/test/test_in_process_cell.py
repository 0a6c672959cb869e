"""The cell in one process: what it shows, how it obeys, and that nothing but its inputs decides."""

import numpy as np
import pytest
from support.cells import SIM as CELL
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene import views
from vga_bringup.sim.scene.places import clearance_of
from vga_bringup.sim.scene.task import TaskError
from vga_policy.message_constants import Mode
from vga_policy.observation.observation import ActionChunk

LATENCY = 0.15


@pytest.fixture(scope="module")
def cell():
    cell = InProcessCell(CELL)
    yield cell
    cell.close()


@pytest.fixture(autouse=True)
def listeners(cell):
    yield
    cell.on_tick = cell.on_step = lambda _: None


def standing(q, width=0.08):
    return ActionChunk.of_joints(np.tile(q, (8, 1)), np.full(8, width))


def test_an_observation_is_what_the_policy_gets_of_the_slots(cell):
    arrangement = cell.reset("grasp_vegetable", 3)
    cell.step(0.25)
    observation = cell.observe()
    assert observation.stamp_ns == 250_000_000
    assert [image.shape for image in observation.images] == [(240, 320, 3)] * 2
    assert observation.instruction == arrangement.instruction
    assert observation.proprioception == pytest.approx([*arrangement.arm_start, 0.08], abs=5e-3)


def test_pictures_come_with_their_ground_truth(cell):
    """Pixels of the table, put back into space by depth, K and pose, lie in the plane of the table."""
    cell.reset("pick_cube", 1)
    for camera in ("fixed_1", "fixed_2", "wrist"):
        picture = cell.picture(camera, with_depth=True)
        v, u = np.mgrid[60:240:7, 0:320:7]
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(views.intrinsics(320, 240)).T
        points = rays * picture.depth[v, u, None] / 1000 @ picture.pose[:3, :3].T + picture.pose[:3, 3]
        assert np.median(np.abs(points[..., 2])) < 2e-3, camera


def test_two_cells_with_the_same_inputs_agree_to_the_last_bit(cell):
    def run(cell):
        demonstrate(cell, "press_button", 4, perturb=True)
        return cell.now, cell.proprioception, cell.picture("wrist", with_depth=True)

    other = InProcessCell(CELL)
    try:
        cell.reset("stack_cube", 9)  # whatever happened before leaves no trace
        cell.step(0.5)
        (now, joints, picture), (other_now, other_joints, other_picture) = run(cell), run(other)
    finally:
        other.close()
    assert now == other_now
    assert (joints == other_joints).all()
    assert (picture.color == other_picture.color).all()
    assert (picture.depth == other_picture.depth).all()


def test_a_demonstration_played_back_in_chunks_does_the_task(cell):
    """The policy's whole way, with a perfect policy: labels as a dataset makes them, a real latency, a new scene."""
    times, references = [], []

    def record(tick):
        times.append(cell.now)
        references.append([*tick.reference.q, tick.reference.gripper_width])

    cell.on_tick = record
    assert demonstrate(cell, "pick_cube", 7).success
    cell.on_tick = lambda _: None
    recorded = np.array(references)
    steps = CELL.dt * np.arange(1, 9)

    cell.reset("pick_cube", 7)
    while cell.now < times[-1] + 1.0 and not cell.task_state.success:
        due = cell.now + steps
        labels = np.stack([np.interp(due, times, recorded[:, joint]) for joint in range(7)], axis=1)
        widths = recorded[np.searchsorted(times, due).clip(max=len(times) - 1), 7]
        cell.offer(ActionChunk.of_joints(labels, widths), cell.now, LATENCY)
        cell.step(CELL.dt)
    assert cell.task_state.success
    assert not cell.rejected
    assert cell.accepted > 30


def test_a_chunk_arrives_after_its_latency(cell):
    arrangement = cell.reset("pick_cube", 0)
    cell.offer(standing(np.array(arrangement.arm_start)), cell.now, 0.12)
    cell.step(0.12)
    assert cell.accepted == 0
    cell.step(0.001)
    assert cell.accepted == 1


def test_what_the_safety_filter_refuses_is_counted_and_not_executed(cell):
    start = np.array(cell.reset("pick_cube", 0).arm_start)
    cell.offer(standing(start + 0.5), cell.now, 0.0)
    cell.offer(standing(np.full(7, np.nan)), cell.now, 0.0)
    cell.step(0.5)
    assert dict(cell.rejected) == {"jump": 1, "nonfinite": 1}
    assert cell.proprioception[:7] == pytest.approx(start, abs=5e-3)


def test_teleoperation_takes_no_chunks(cell):
    start = np.array(cell.reset("pick_cube", 0, Mode.TELEOP).arm_start)
    cell.offer(standing(start), cell.now, 0.0)
    cell.step(0.01)
    assert dict(cell.rejected) == {"mode": 1}


def test_the_gripper_obeys_the_leader_and_holds_back_small_changes(cell):
    start = np.array(cell.reset("press_button", 0, Mode.TELEOP).arm_start)

    def lead(width, seconds):
        for _ in range(round(seconds / 0.01)):
            cell.lead(start, width)
            cell.step(0.01)
        return cell.proprioception[7]

    assert lead(0.05, 1.0) == pytest.approx(0.05, abs=5e-3)
    assert lead(0.052, 0.5) == pytest.approx(0.05, abs=5e-3)
    assert lead(0.0, 1.5) < 2e-3
    assert lead(0.04, 0.5) < 2e-3, "a grasp is undone by opening wide only"
    assert lead(0.08, 1.5) > 0.07


def test_an_unknown_task_changes_nothing(cell):
    cell.reset("pick_cube", 2)
    with pytest.raises(TaskError):
        cell.reset("juggle", 1)
    assert cell.arrangement.task == "pick_cube"


def test_random_cameras_stand_elsewhere_every_half_second_and_see_the_work(cell):
    seen = []

    def look(step):
        if step % 100 == 50:
            picture = cell.picture("fixed_1", with_depth=True)
            seen.append((picture.pose, picture.depth, cell.picture("wrist").pose[:3, 3]))

    cell.on_step = look
    demonstrate(cell, "press_button", 0, random_cameras=True)
    cell.on_step = lambda _: None
    poses, depths, hands = (np.array(values) for values in zip(*seen, strict=True))
    moved = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) > 1e-6
    assert moved.tolist() == [turn % 5 == 4 for turn in range(len(moved))]
    assert all(clearance_of(pose).keeps() for pose in poses)
    assert depths.min(initial=10_000, where=depths > 0) > 150, "something hides the cell"
    in_camera = np.linalg.inv(poses) @ np.concatenate([hands, np.ones((len(hands), 1))], axis=1)[..., None]
    across = np.abs(in_camera[:, :2, 0] / in_camera[:, 2:3, 0]).max()
    assert across < np.tan(views.FOVY / 2), "the hand is in the picture"
    demonstrate(cell, "press_button", 0)
    assert cell.picture("fixed_1").pose[:3, 3] == pytest.approx(views.VIEWS["fixed_1"].position, abs=1e-6)
