"""The simulated cell in this process: objects, button, cameras and their ground truth. No server, no ROS."""

import os
from contextlib import closing

import numpy as np
import pytest
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.physics.state import StateReader, StateWriter
from vga_bringup.sim.rendering.frame_ring import FrameReader, FrameWriter
from vga_bringup.sim.rendering.renderer import CellRenderer
from vga_bringup.sim.scene import objects, views
from vga_bringup.sim.scene.objects import DEFAULT_PLACEMENTS, Placement
from vga_policy.cell.schema import Camera, ColorProfile

ADDRESS = f"test-{os.getpid()}"  # nobody serves an arm here: any name will do
HOME = (0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854)
ABOVE_CUBES = (0.0, 0.1, 0.0, -2.35, 0.0, 2.45, 0.7854)
COLORS = {"red_cube": 0, "green_cube": 1, "blue_cube": 2}
CAMERAS = [
    Camera(name=name, serial=name, role="fixed", depth=True, color=ColorProfile(width=320, height=240, fps=15))
    for name in views.VIEWS
]


@pytest.fixture
def simulator():
    with CellSimulator(HOME, views.VIEWS) as simulator:
        simulator.start()
        yield simulator


def run(simulator, seconds, q=HOME):
    for _ in range(round(seconds * 1000)):
        simulator.robot.joint_position_control(q)
        simulator.step()


class Studio:
    """Draws the simulator's state through the shared memory that the renderer uses."""

    def __init__(self):
        self._renderer = CellRenderer(CAMERAS)

    def images(self, simulator):
        """Color and depth of every camera, by name."""
        with closing(StateWriter(ADDRESS, simulator.model)) as state:
            state.write(simulator.model, simulator.data)
            snapshot = StateReader(ADDRESS).read()
        self._renderer.load(snapshot)
        frames = {}
        for camera in CAMERAS:
            with closing(FrameWriter(ADDRESS, camera)) as ring:
                self._renderer.draw(camera, ring.color, ring.depth)
                ring.publish(snapshot.wall_time, snapshot.sim_time, due=0.0, finished=0.0)
                frames[camera.name] = FrameReader(ADDRESS, camera).read(0)
        return {name: (frame.color, frame.depth) for name, frame in frames.items()}

    def close(self):
        self._renderer.close()


@pytest.fixture(scope="module")
def studio():
    studio = Studio()
    yield studio
    studio.close()


def colored(image, channel):
    """Which pixels are clearly of this primary color."""
    others = np.delete(image.astype(int), channel, axis=2).max(axis=2)
    return image[..., channel] - others > 60


def test_objects_rest_where_they_are_placed(simulator):
    run(simulator, 1.0)
    for name, placement in DEFAULT_PLACEMENTS.items():
        assert simulator.object_position(name)[:2] == pytest.approx(placement[:2], abs=0.01), name
    assert not simulator.button_latched


def test_objects_can_be_placed_anew(simulator):
    run(simulator, 0.1)
    simulator.place({"carrot": Placement(0.6, 0.3, 0.5), "button": Placement(0.4, 0.0)})
    run(simulator, 0.5)
    assert simulator.object_position("carrot")[:2] == pytest.approx((0.6, 0.3), abs=0.01)
    assert simulator.object_position("button")[:2] == pytest.approx((0.4, 0.0), abs=1e-6)
    assert simulator.object_position("red_cube")[:2] == pytest.approx(DEFAULT_PLACEMENTS["red_cube"][:2], abs=0.01)


def test_button_latches_when_pressed_and_is_cleared_by_placing(simulator):
    cap = simulator.model.body("button_cap").id
    simulator.data.xfrc_applied[cap, 2] = -1.0
    run(simulator, 0.3)
    assert not simulator.button_latched, "a touch is no press"
    simulator.data.xfrc_applied[cap, 2] = -6.0
    run(simulator, 0.3)
    simulator.data.xfrc_applied[cap, 2] = 0.0
    run(simulator, 0.3)
    assert simulator.button_latched, "it stays latched when released"
    simulator.place({})
    assert not simulator.button_latched


def test_lamp_is_seen(simulator, studio):
    dark = studio.images(simulator)
    simulator.data.userdata[0] = 1.0
    lit = studio.images(simulator)
    for camera in ("fixed_1", "fixed_2"):
        changed = np.abs(lit[camera][0].astype(int) - dark[camera][0]).max(axis=2) > 60
        assert changed.sum() > 20, camera


def test_fixed_cameras_see_every_cube_where_their_ground_truth_says(simulator, studio):
    run(simulator, 0.2)
    images = studio.images(simulator)
    matrix = views.intrinsics(320, 240)
    for camera in ("fixed_1", "fixed_2"):
        color, depth = images[camera]
        from_base = np.linalg.inv(views.camera_pose(simulator.data, camera))
        for name, channel in COLORS.items():
            x, y, z = (from_base @ [*simulator.object_position(name), 1.0])[:3]
            u, v = (matrix @ [x / z, y / z, 1.0])[:2]
            rows, columns = np.nonzero(colored(color, channel))
            near = np.hypot(columns - u, rows - v) < 15
            assert near.sum() > 40, f"{camera} shows no {name} at ({u:.0f}, {v:.0f})"
            assert columns[near].mean() == pytest.approx(u, abs=2.0)
            assert rows[near].mean() == pytest.approx(v, abs=2.0)
            # The near faces of the cube lie up to half its diagonal before its center.
            assert depth[round(v), round(u)] / 1000 == pytest.approx(z - objects.CUBE / 2, abs=objects.CUBE / 2)


def test_wrist_camera_sees_cubes_and_fingers(simulator, studio):
    run(simulator, 1.0, ABOVE_CUBES)
    color, depth = studio.images(simulator)["wrist"]
    assert colored(color, COLORS["red_cube"]).sum() > 200
    assert colored(color, COLORS["green_cube"]).sum() > 200
    left, right = depth[-30:, :160], depth[-30:, 160:]  # one finger in each lower corner, nearer than the table
    for corner in (left, right):
        assert np.percentile(corner, 10) < 0.7 * np.median(depth)


def test_views_stand_upright(simulator, studio):
    for camera in ("fixed_1", "fixed_2"):
        up_in_image = -views.camera_pose(simulator.data, camera)[:3, 1]  # image y points down
        assert up_in_image[2] > 0.7
    between = views.camera_pose(simulator.data, "fixed_1")[:3, 2] @ views.camera_pose(simulator.data, "fixed_2")[:3, 2]
    assert np.degrees(np.arccos(between)) > 45, "the fixed cameras look from clearly different sides"


def test_no_two_images_are_the_same(simulator, studio):
    first, second = studio.images(simulator), studio.images(simulator)
    for name in views.VIEWS:
        difference = first[name][0].astype(int) - second[name][0]
        assert np.any(difference)
        assert np.abs(difference).mean() < 5, "noise, not another picture"


def test_hand_stays_within_its_range_and_turns_round_at_once(simulator):
    robot = simulator.robot
    robot.set_hand_goal(-1.0, 0.1, 20.0)
    run(simulator, 1.5)
    assert robot.hand_width == pytest.approx(0.0, abs=1e-3)
    robot.set_hand_goal(1.0, 0.1, 20.0)
    run(simulator, 0.1)
    assert robot.hand_width > 0.005
    run(simulator, 1.0)
    assert robot.hand_width == pytest.approx(0.08, abs=1e-3)


def test_measured_and_desired_pose_are_not_the_same_object(simulator):
    run(simulator, 0.05)
    simulator.robot.joint_position_control(np.add(HOME, 0.2))
    simulator.step()
    state = simulator.robot.state
    assert not np.allclose(state.O_T_EE, state.O_T_EE_d)
