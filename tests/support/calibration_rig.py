"""Pictures of a calibration board in the simulated cell: on the table or in the hand, in any poses of the arm."""

import mujoco
import numpy as np
from vga_bringup.calibration.board import COLUMNS, ROWS, Board
from vga_bringup.calibration.simulated import board_mjcf
from vga_bringup.calibration.solve import Lens, Shot
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.rendering.renderer import CellRenderer
from vga_bringup.sim.scene import scene, views

from support.cells import SIM

SIZE = 1280, 720  # a D415's profile
LENS = Lens(views.intrinsics(*SIZE), np.zeros(5))


class Rig:
    """The cell with a board. carrier: 'base', where it lies, or 'hand', which holds it; pose: [4, 4] in there."""

    def __init__(self, camera, board, carrier, pose):
        self._camera, self._board, self._carrier = SIM.camera(camera), board, carrier
        simulator = CellSimulator(SIM.arm.home, [camera], {})
        simulator.init()
        middle = np.eye(4)
        middle[:2, 3] = COLUMNS * board.square / 2, ROWS * board.square / 2
        body = ".//worldbody" if carrier == "base" else f".//body[@name='{views.HAND_BODY}']"
        simulator.scene.find(body).extend(scene.ET.fromstring(f"<board>{board_mjcf(board, pose @ middle)}</board>"))
        self._model = mujoco.MjModel.from_xml_string(scene.text(simulator.scene))
        self._camera = self._camera.model_copy(
            update={"color": self._camera.color.model_copy(update={"width": SIZE[0], "height": SIZE[1]})}
        )
        self._renderer = CellRenderer([self._camera], self._model, noise=1)
        self._kinematics = Kinematics(SIM.arm)

    def picture(self, q):
        data = self._renderer.data
        first = int(self._model.joint("robot0_fr3_joint1").qposadr[0])
        data.qpos[first : first + 7] = q
        mujoco.mj_forward(self._model, data)
        color = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        self._renderer.draw(self._camera, color)
        return color

    def hand(self, q):
        """The hand in the base [4, 4], by the driver's kinematics."""
        pose = np.eye(4)
        links = self._kinematics.links(np.asarray(q))
        pose[:3, :3], pose[:3, 3] = links.rotation[-1], links.position[-1]
        return pose

    def shots(self, postures):
        """What a calibration is given: the pictures in which the board is seen."""
        found = []
        for q in postures:
            if sight := self._board.find(self.picture(q)):
                hand = self.hand(q)
                found.append(Shot(sight, np.linalg.inv(hand) if self._carrier == "base" else hand))
        return found

    def truth(self):
        """The camera's optical frame in its parent [4, 4], by MuJoCo."""
        camera = views.camera_pose(self._renderer.data, self._camera.name)
        if self._carrier == "hand":
            return camera
        base, hand = self._renderer.data.body(views.BASE_BODY), self._renderer.data.body(views.HAND_BODY)
        pose = np.eye(4)
        pose[:3, :3] = base.xmat.reshape(3, 3).T @ hand.xmat.reshape(3, 3)
        pose[:3, 3] = base.xmat.reshape(3, 3).T @ (hand.xpos - base.xpos)
        return np.linalg.inv(pose) @ camera

    def close(self):
        self._renderer.close()


def rig_for(camera):
    """The board where it is seen: on the table under the wrist camera, else in the hand, facing the camera."""
    if camera == "wrist":
        return Rig(camera, Board(), "base", _frame((0.28, 0.1225, 0.006), (0, 0, -1)))
    view, hand = views.VIEWS[camera], np.eye(4)
    links = Kinematics(SIM.arm).links(np.array(SIM.arm.home))
    hand[:3, :3], hand[:3, 3] = links.rotation[-1], links.position[-1]
    middle = hand[:3, 3] - (0.0, 0.0, 0.25)
    held = _frame(middle, middle - view.position)
    held[:3, 3] -= held[:3, :3] @ (2.5 * Board().square, 3.5 * Board().square, 0.0)
    return Rig(camera, Board(), "hand", np.linalg.inv(hand) @ held)


def postures(count, seed, spread=0.3):
    """Of the arm around its home, rad [count, 7]: most by the wrist's joints."""
    share = np.array([0.3, 0.3, 0.3, 0.5, 1.0, 1.0, 1.0])
    return np.array(SIM.arm.home) + spread * share * np.random.default_rng(seed).uniform(-1, 1, (count, 7))


def _frame(origin, into):
    """A board's frame [4, 4] with z that way, away from who looks at it, and x level."""
    z = np.asarray(into, float) / np.linalg.norm(into)
    x = np.cross(z, (0.0, 0.0, 1.0)) if abs(z[2]) < 0.99 else np.array((1.0, 0.0, 0.0))
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.stack([x, np.cross(z, x), z], axis=1), origin
    return pose
