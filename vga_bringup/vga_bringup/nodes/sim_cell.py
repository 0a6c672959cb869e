"""The simulated cell as a ROS 2 node: an FR3 behind libfranka's protocol, and the pictures its cameras take.

The arm answers at the cell file's `arm.ip`, a loopback address.

Service ~/arrange (vga_msgs/ArrangeScene) places the objects for one trial of a task; ~/task_state (vga_msgs/TaskState,
10 Hz) tells how that trial stands. Physics and drawing run in child processes. This one watches over them and publishes
/diagnostics at 1 Hz, with the `real_time_factor`: simulated seconds per second, over the last one.
"""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import FloatingPointRange
from std_msgs.msg import Header
from vga_policy.cell.errors import CellError
from vga_policy.evaluate.environment import Judgement
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.diagnostics import OK, WARN, diagnostic
from vga_policy.ros.node import CellNode, NodeError, run_node
from vga_policy.ros.parameters import NodeParameter

from vga_bringup.sim.physics.children import Children
from vga_bringup.sim.physics.shared import remove_segments
from vga_bringup.sim.physics.state import Snapshot, StateReader, find_state
from vga_bringup.sim.referee import ArrangeError, Referee, cell_referee
from vga_bringup.sim.rendering.frame_ring import FrameReader
from vga_bringup.sim.scene import meshes
from vga_bringup.sim.scene.task import TaskError
from vga_bringup.sim.scene.views import displaced, require_simulated
from vga_bringup.sim.tasks.registry import objects_of
from vga_msgs.msg import TaskState
from vga_msgs.srv import ArrangeScene

PHYSICS = "vga_bringup.sim.physics.process"
RENDERER = "vga_bringup.sim.rendering.renderer"
CAPTURE_DELAY = 0.04  # s
SLOW = 0.95  # real-time factor below which the cell is reported as slow

# Mesa's software renderer then draws in the thread that asks: less work in all, and one processor left alone.
RENDERER_ENVIRONMENT = {"LP_NUM_THREADS": "0"}


class CellFailed(NodeError):  # noqa: N818 - named for what happened
    """A part of the simulated cell ended by itself. The message says which."""


class SimCell(CellNode):
    """Starts the parts of the simulated cell and reports how they do.

    Raises CellFailed, out of spin(), when a part ends by itself.
    """

    capture_delay = NodeParameter(
        CAPTURE_DELAY,
        "seconds from the instant an image shows to its delivery by the camera, by default a D415's",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1.0)],
    )

    task = NodeParameter("", "task whose objects are on the table; empty: the cell's own")

    moved = NodeParameter[list[str]](
        [], "cameras that stand elsewhere, each as NAME X Y Z [ROLL PITCH YAW], m and degrees"
    )

    def __init__(self) -> None:
        super().__init__(topics.SIM_CELL)

    def configure(self) -> None:
        """Raises CellError when the cell file asks for what is not simulated, or the task cannot be used."""
        super().configure()
        try:
            self._things = objects_of(self.task)
        except TaskError as error:
            raise CellError(str(error)) from None
        try:
            require_simulated(self.cell)
            for text in self.moved:
                displaced(text)
        except CellError as error:
            raise CellError(f"{self.cell_path}: {error}") from None
        meshes.light_meshes()
        self._children = Children()
        self._state: StateReader | None = None
        self._frames: list[FrameReader] = []
        self._last: Snapshot | None = None
        self._referee: Referee | None = None
        self._task_state = self.create_publisher(TaskState, topics.SIM_CELL_TASK_STATE, 10)

    def activate(self) -> None:
        """Starts the parts of the cell."""
        self.resources.callback(self._remove)
        self._physics, self._renderer = self._start()
        self.create_service(ArrangeScene, topics.SIM_CELL_ARRANGE, self._arrange)
        self.start_diagnostics()
        every(self, 0.1, self._watch)
        every(self, 0.1, self._judge)

    def _remove(self) -> None:
        """Ends the parts of the cell, and removes what they could not."""
        remove_segments(self.cell.arm.ip, self._children.stop())

    def _start(self) -> tuple[int, int]:
        """Starts the parts of the cell; process ids of physics and renderer."""
        physics = self._children.start(PHYSICS, "--cell", self.cell_path, "--task", self.task)
        what = ("--cell", self.cell_path, "--task", self.task)
        when = ("--physics", str(physics), "--capture-delay", f"{self.capture_delay:g}")
        where = [f"--moved={text}" for text in self.moved]
        return physics, self._children.start(RENDERER, *what, *when, *where, environment=RENDERER_ENVIRONMENT)

    def _watch(self) -> None:
        if failure := self._children.ended():
            raise CellFailed(failure)
        if self._state is None:
            self._state = find_state(self.cell.arm.ip, self._physics)
            if self._state is not None:
                self._referee = cell_referee(self.cell, self._state, self._things)
        elif not self._frames:
            self._frames = self._find_frames()
            if self._frames:
                names = ", ".join(camera.name for camera in self.cell.cameras)
                self.get_logger().info(f"ready: FR3 at {self.cell.arm.ip}, cameras {names}")

    def _arrange(self, request: ArrangeScene.Request, response: ArrangeScene.Response) -> ArrangeScene.Response:
        if self._referee is None:
            response.message = "the simulated cell is starting: try again"
            return response
        try:
            arrangement = self._referee.arrange(request.task, request.seed)
        except (TaskError, ArrangeError) as error:
            response.message = str(error)
            return response
        response.success, response.message = True, "arranged"
        response.instruction, response.arm_start = arrangement.instruction, list(arrangement.arm_start)
        self.get_logger().info(f"arranged {request.task}, seed {request.seed}: {arrangement.instruction}")
        return response

    def _judge(self) -> None:
        """Publishes how the trial stands."""
        state = TaskState(header=Header(stamp=self.get_clock().now().to_msg()))
        if self._referee is not None:
            try:
                judgement = self._referee.judge()
            except TaskError as error:
                judgement = Judgement(False, True, str(error))
            state.success, state.failed, state.detail = judgement.success, judgement.failed, judgement.detail
            state.picks, state.grasped = judgement.grasped is not None, judgement.grasped or ""
            if (arrangement := self._referee.arrangement) is not None:
                state.task, state.seed = arrangement.task, arrangement.seed
                state.instruction = arrangement.instruction
        self._task_state.publish(state)

    def _find_frames(self) -> list[FrameReader]:
        """The rings of all cameras; none before every one has a frame."""
        try:
            frames = [FrameReader(self.cell.arm.ip, camera) for camera in self.cell.cameras]
        except (FileNotFoundError, ValueError):  # not there yet, or left over with another profile
            return []
        return frames if all(ring.writer == self._renderer and ring.written for ring in frames) else []

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How the cell keeps up with real time."""
        level, message = WARN, "starting"
        values: dict[str, object] = {}
        if self._state is not None:
            now = self._state.read()
            if self._last is not None and now.wall_time > self._last.wall_time:
                factor = (now.sim_time - self._last.sim_time) / (now.wall_time - self._last.wall_time)
                level, message = OK, "in step with real time"
                if factor < SLOW:
                    level, message = WARN, "slower than real time: this computer has too much to do"
                values["real_time_factor"] = f"{factor:.4f}"
            values["sim_time"] = f"{now.sim_time:.3f}"
            values["wall_time"] = f"{now.wall_time:.6f}"
            self._last = now
        values["frames_rendered"] = sum(ring.written for ring in self._frames)
        values["frames_late"] = sum(ring.late for ring in self._frames)
        values["capture_delay_ms"] = f"{1e3 * self.capture_delay:g}"
        return [diagnostic("sim_cell: real_time_factor", self.cell.arm.ip, level, message, values)]


def main(args: list[str] | None = None) -> int:
    """Runs the cell until SIGINT or SIGTERM. Returns 2 when parameters or cell file are wrong, 1 when a part failed."""
    return run_node("sim_cell", SimCell, args)
