"""The policy as a ROS 2 node: images, joint states and an instruction in, action chunks out, at the control rate.

Parameters: `cell`, path of the cell file; `checkpoint`, directory of trained weights, empty for an untrained policy
that only keeps the arm moving; `views`, camera names for the view slots, by default the cell's; `threads`, cores the
model computes on; `device`, torch's name of where it does, `auto` for a GPU if there is one; `image_transport`,
`compressed` (what the policy is trained on) or `raw`; `dump`, a directory to keep every prepared input in, for
comparison with training's.

Subscribes to the views' /cameras/<name>/color/image_raw/compressed (raw: without the last part), /joint_states and
/franka_driver/state. Joint states that the robot cannot be in are passed over; while more than one node publishes
them, the policy is unhealthy and takes no task.
Publishes /policy/action_chunk while a task runs, /policy/heartbeat at 20 Hz and /diagnostics at 1 Hz.
Offers the action /policy/run_task. Neither the control cycle nor the heartbeat waits for DDS: the publish queue's
thread publishes everything.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from vga_msgs.action import RunTask
from vga_msgs.msg import ActionChunk as ActionChunkMsg
from vga_msgs.msg import DriverState, PolicyHeartbeat
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints.checkpoint import CheckpointError
from vga_policy.inference.cycle_statistics import CycleStatistics
from vga_policy.inference.dump import dump_inputs
from vga_policy.inference.policy import Policy, PolicyError
from vga_policy.inference.task import Phase, Task
from vga_policy.inference.untrained import untrained_policy
from vga_policy.inference.worker import Worker
from vga_policy.message_constants import MODE_NAMES, TaskOutcome
from vga_policy.observation.joint_states import Disbelief, JointStateError, JointStates
from vga_policy.observation.observation import Observation
from vga_policy.observation.resampler import JpegImage, Problem, Resampler
from vga_policy.ros import topics
from vga_policy.ros.clocks import ClockWatch, every
from vga_policy.ros.lifetime import start_ros
from vga_policy.ros.long_action import LongActionServer
from vga_policy.ros.messages import RawImage, chunk_message, diagnostic, uuid_message
from vga_policy.ros.publish_queue import PublishQueue
from vga_policy.ros.publishers import SolePublisher
from vga_policy.text.pretrained import EncoderError
from vga_policy.units import SECOND, nanoseconds

HEARTBEAT_RATE = 20.0  # Hz
JOINTS_DEPTH = 200  # messages kept while the executor is busy: a lost one would change the interpolation
STUCK_AFTER = 0.3  # s one control cycle may take before the policy reports itself unhealthy
REHEARSAL_PERIOD = 1.0  # s between acts without a task: the first chunk comes as fast as any, and faults show early
DRIVER_GRACE = 0.5  # s a new task waits for the driver: its state may arrive after the goal it precedes
DRIVER_SILENCE = 1.0  # s without a driver state after which the driver counts as gone
LOOK_PERIOD = 1.0  # s between two looks who publishes the joint states
DISBELIEF_SHOWN = 5.0  # s a joint state that is not believed stays in the words on /diagnostics
SIGNAL_POLL = 0.1  # s between two looks whether a signal has come
FAREWELL = 0.2  # s in which the last heartbeat and the result of an interrupted task go out
SETUP_ERRORS = (CellError, CheckpointError, EncoderError, PolicyError, ParameterException)

BEST_EFFORT = partial(QoSProfile, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class Run:
    """A task and the action goal it answers."""

    task: Task
    goal: ServerGoalHandle


class PolicyNode(Node):
    """Wires topics to the resampler, the policy and the running task.

    The control cycle runs in the worker's thread, encoding instructions in the encoder's, publishing in the queue's,
    everything else in the executor's.
    """

    def __init__(self) -> None:
        """Raises one of SETUP_ERRORS when it cannot be set up."""
        super().__init__(topics.POLICY)
        self._cell = self._load_cell()
        transport = self._load_transport()
        self._policy = self._load_policy()
        self._dump = self.declare_parameter("dump", "", ParameterDescriptor(read_only=True)).value
        self._resampler = Resampler([camera.name for camera in self._cell.views], self._cell.inputs)
        self._joint_states = JointStates(self._cell)
        self._disbelieved: Counter[Disbelief] = Counter()
        self._disbelief, self._disbelief_at = "", 0.0
        self._arm = SolePublisher(self, topics.JOINT_STATES)
        self._clocks = ClockWatch()
        self._cadence = CycleStatistics()
        self._queue = PublishQueue()
        self._worker = Worker(self._cycle, self._on_failure)
        self._encoder = Worker(self._encode, self._on_failure)
        self._run: Run | None = None
        self._sequence = 0
        self._driver: DriverState | None = None
        self._driver_heard_ns = 0
        self._reported: object = None

        self._chunks = self.create_publisher(ActionChunkMsg, topics.POLICY_ACTION_CHUNK, 10)
        self._heartbeat = self.create_publisher(PolicyHeartbeat, topics.POLICY_HEARTBEAT, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        for camera in self._cell.views:
            self._subscribe_image(camera.name, transport)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, BEST_EFFORT(depth=JOINTS_DEPTH))
        self.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED)
        self._tasks = LongActionServer(
            self, RunTask, topics.POLICY_RUN_TASK, self._begin, goal_callback=self._admit, cancel_callback=self._cancel
        )
        self.create_timer(self._cell.dt, self._on_tick)
        every(self, REHEARSAL_PERIOD, self._rehearse)
        every(self, 1.0 / HEARTBEAT_RATE, self._beat)
        every(self, LOOK_PERIOD, self._arm.look)
        every(self, 1.0, self._diagnose)
        # A replay that starts over sets the clock back: samples of its first round are from the future then.
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
        self._jump = self.get_clock().create_jump_callback(backwards, post_callback=self._on_clock_set_back)

    def close(self) -> None:
        """Ends the running task and says so to the driver: the arm comes to rest without waiting for a timeout."""
        self._end(TaskOutcome.ABORTED, "the policy node is shutting down")
        self._worker.stop()
        self._encoder.stop()
        self._queue.close()

    # Set-up.

    def _load_cell(self) -> Cell:
        read_only = ParameterDescriptor(read_only=True)
        path = self.declare_parameter("cell", "", read_only).value
        self.declare_parameter("views", Parameter.Type.STRING_ARRAY, read_only)
        if not path:
            raise CellError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        cell = load_cell(path)
        views = self.get_parameter_or("views", None)
        return cell.with_views(list(views.value)) if views is not None and views.value else cell

    def _load_transport(self) -> str:
        transport = self.declare_parameter("image_transport", "compressed", ParameterDescriptor(read_only=True)).value
        if transport not in ("compressed", "raw"):
            raise CellError(f"parameter 'image_transport' must be compressed or raw (found {transport!r})")
        return transport

    def _load_policy(self) -> Policy:
        read_only = ParameterDescriptor(read_only=True)
        checkpoint = self.declare_parameter("checkpoint", "", read_only).value
        device = self.declare_parameter("device", "auto", read_only).value
        threads = self.declare_parameter("threads", 1, read_only).value
        if checkpoint:
            self.get_logger().info(f"policy from {checkpoint}")
            return Policy.from_pretrained(checkpoint, self._cell, device=device, threads=threads)
        self.get_logger().warning("no checkpoint: this policy is UNTRAINED; it keeps the arm moving and does no task")
        return untrained_policy(self._cell, device=device, threads=threads)

    # Inputs.

    def _subscribe_image(self, camera: str, transport: str) -> None:
        names = topics.camera(camera)
        if transport == "raw":
            self.create_subscription(Image, names.image, partial(self._on_raw_image, camera), BEST_EFFORT(depth=5))
        else:
            self.create_subscription(
                CompressedImage, names.compressed, partial(self._on_image, camera), BEST_EFFORT(depth=5)
            )

    def _on_image(self, camera: str, message: CompressedImage) -> None:
        self._resampler.push_image(camera, nanoseconds(message.header.stamp), JpegImage(bytes(message.data)))

    def _on_raw_image(self, camera: str, message: Image) -> None:
        self._resampler.push_image(camera, nanoseconds(message.header.stamp), RawImage(message))

    def _on_joints(self, message: JointState) -> None:
        self._clocks.take(message.header.stamp)
        try:
            sample = self._joint_states.believed(message.name, message.position)
        except JointStateError as error:
            self._disbelieved[error.kind] += 1
            self._disbelief, self._disbelief_at = str(error), time.monotonic()
            self._resampler.pass_over_joints(self._disbelief)
            self._queue.put(self._log_disbelief, self._disbelief)
        else:
            self._resampler.push_joints(nanoseconds(message.header.stamp), sample)

    def _on_driver(self, message: DriverState) -> None:
        self._driver = message
        self._driver_heard_ns = self._now()
        self._follow_driver()

    def _on_clock_set_back(self, _jump: TimeJump) -> None:
        self._resampler.clear()
        self._end(TaskOutcome.ABORTED, "the clock was set back")

    # The control cycle: asked for by the tick, run in the worker's thread.

    def _on_tick(self) -> None:
        self._follow_driver()
        run = self._run
        if run is None:
            return
        if run.task.phase is Phase.WAITING:
            self._encoder.tick()
            self._give_feedback(run)
        elif run.task.advance(self._now()):
            self._end(TaskOutcome.STEP_LIMIT, f"step limit of {run.task.max_steps} reached")
        elif problem := self._sender_problem():
            run.task.waiting_for = problem
            self._give_feedback(run)
        else:
            self._worker.tick()

    def _rehearse(self) -> None:
        if self._run is None:
            self._worker.tick()
            self._encoder.tick()  # a failure it had with the last task is over

    def _encode(self) -> None:
        """A waiting task's instruction, before the task starts: a control cycle has no time for a large encoder."""
        if (run := self._run) is not None and not run.task.encoded:
            self._policy.encode(run.task.instruction)
            run.task.encoded = True

    def _cycle(self) -> None:
        """One observation becomes one chunk; without a task it is a rehearsal, and nobody gets to see the chunk."""
        run = self._run
        if run is not None and not run.task.encoded:  # a task overtook the rehearsal
            return
        started_ns, started = self._now(), time.perf_counter()
        observation = self._resampler.observe(started_ns, run.task.instruction if run else "")
        if not isinstance(observation, Observation):
            if run is not None:
                run.task.waiting_for = _in_words(observation)
                self._give_feedback(run)
            return
        inputs = self._policy.prepare(observation)
        prepared = time.perf_counter()
        if self._dump:
            dump_inputs(Path(self._dump), observation, inputs)
        chunk = self._policy.predict(inputs)
        predicted = time.perf_counter()
        if run is None:
            return
        task = run.task
        message = chunk_message(self._cell, task.goal_id, observation, chunk, started_ns, self._now())
        with task.publishing() as live:
            if not live:
                return
            self._sequence += 1
            message.sequence = self._sequence
            self._queue.put(self._chunks.publish, message)
            task.chunks += 1
        task.waiting_for = ""
        self._cadence.record(time.monotonic(), prepare=prepared - started, predict=predicted - prepared)
        self._give_feedback(run)

    def _on_failure(self, error: Exception) -> None:
        self._queue.put(self._log_failure, error)
        if (run := self._run) is not None:
            run.task.waiting_for = f"the policy failed: {error}"
            self._give_feedback(run)

    def _give_feedback(self, run: Run) -> None:
        task = run.task
        feedback = RunTask.Feedback(steps=task.steps, chunk_sequence=self._sequence, waiting_for=task.waiting_for)
        self._queue.put(run.goal.publish_feedback, feedback)

    # The running task.

    def _admit(self, request: RunTask.Goal) -> GoalResponse:
        if self._run is None:
            return GoalResponse.ACCEPT
        running = self._run.task.instruction
        self._queue.put(self._log_rejected, f"'{request.instruction}': '{running}' is running, cancel it first")
        return GoalResponse.REJECT

    def _begin(self, goal: ServerGoalHandle) -> None:
        request = goal.request
        task = Task(bytes(goal.goal_id.uuid), request.instruction, request.max_steps, self._cell.dt, self._now())
        self._run = Run(task, goal)
        self._cadence.clear()
        self._arm.look()
        if not request.instruction.strip():
            self._end(TaskOutcome.ABORTED, "the instruction is empty")
        elif self._arm.problem:
            self._end(TaskOutcome.ABORTED, self._arm.problem)
        else:
            self._encoder.tick()
            self._follow_driver()

    def _follow_driver(self) -> None:
        """Starts a waiting task when driver and policy are ready; ends a task when the driver is not, or no longer."""
        if self._run is None:
            return
        task, fault = self._run.task, self._driver_fault()
        if task.phase is Phase.WAITING:
            if not fault and task.encoded:
                task.start()
                self._queue.put(self._log, f"task '{task.instruction}' runs")
                self._beat()
                return
            task.waiting_for = fault or self._encoder.failure or "the text encoder: this instruction is new to it"
            if self._now() - task.accepted_ns < DRIVER_GRACE * SECOND:
                return
        if fault:
            self._end(TaskOutcome.ABORTED, fault)

    def _driver_fault(self) -> str:
        """Why the driver would not execute chunks; empty when it would."""
        if self._driver is None or self._now() - self._driver_heard_ns > DRIVER_SILENCE * SECOND:
            topic = self.resolve_topic_name(topics.DRIVER_STATE)
            return f"driver is silent: nothing on {topic}; start franka_driver_node"
        if self._driver.mode == DriverState.POLICY:
            return ""
        reason = f" ({self._driver.hold_reason})" if self._driver.hold_reason else ""
        service = self.resolve_service_name(topics.DRIVER_SET_MODE)
        return f"driver is in {MODE_NAMES[self._driver.mode]}{reason}: call {service} with POLICY first"

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        if self._run is None or self._run.goal is not goal:
            return CancelResponse.REJECT
        self._end(TaskOutcome.CANCELED, "cancelled by the caller")
        return CancelResponse.ACCEPT

    def _end(self, outcome: TaskOutcome, message: str) -> None:
        """Ends the running task, if any: from here on no chunk of it is published and the heartbeat is without goal."""
        if self._run is None:
            return
        run, self._run = self._run, None
        run.task.end(outcome, message)
        task = run.task
        self._tasks.conclude(run.goal, lambda goal: self._answer(goal, task))
        self._beat()
        self._queue.put(
            self._log, f"task '{task.instruction}' ended after {task.steps} steps, {task.chunks} chunks: {message}"
        )

    def _answer(self, goal: ServerGoalHandle, task: Task) -> RunTask.Result:
        """Settles the goal of a task that has ended."""
        assert task.outcome is not None
        settle = {
            TaskOutcome.STEP_LIMIT: goal.succeed,
            TaskOutcome.CANCELED: goal.canceled,
            TaskOutcome.ABORTED: goal.abort,
        }
        settle[task.outcome]()
        return RunTask.Result(outcome=task.outcome, message=task.message, steps=task.steps, chunks=task.chunks)

    # Health.

    def _beat(self) -> None:
        now = self.get_clock().now()
        problems, sender = self._resampler.problems(now.nanoseconds), self._sender_problem()
        inference = self._inference_problem()
        run = self._run
        live = run is not None and run.task.phase is Phase.LIVE
        beat = PolicyHeartbeat(
            goal_id=uuid_message(run.task.goal_id if run is not None and live else b""),
            healthy=not (sender or problems or inference),
            reason="; ".join(filter(None, [sender, _in_words(problems), inference])),
        )
        beat.header.stamp = now.to_msg()
        self._queue.put(self._heartbeat.publish, beat)
        state = (live, bool(sender), bool(inference), [(problem.input, problem.fault) for problem in problems])
        if state != self._reported:
            self._reported = state
            self._diagnose()

    def _sender_problem(self) -> str:
        """What is wrong with who sends the joint states, whatever they say: its clock, or that there are several."""
        return "; ".join(filter(None, [self._clocks.problem(), self._arm.problem]))

    def _inference_problem(self) -> str:
        if (busy := self._worker.busy_for()) > STUCK_AFTER:
            return f"inference has been running for {busy:.2f} s, limit {STUCK_AFTER} s"
        return self._worker.failure or self._encoder.failure

    def _diagnose(self) -> None:
        now = self.get_clock().now()
        run = self._run
        problems = self._resampler.problems(now.nanoseconds)
        inputs = "; ".join(filter(None, [self._sender_problem(), _in_words(problems)]))
        recent = time.monotonic() - self._disbelief_at < DISBELIEF_SHOWN
        disbelief = f"joint states not believed, the last: {self._disbelief}" if self._disbelief and recent else ""
        ages = {
            f"{name}_age_s": "none" if age is None else age
            for name, age in self._resampler.ages(now.nanoseconds).items()
        }
        counts = {f"joint_states_{kind}": self._disbelieved[kind] for kind in Disbelief}
        activity = "idle" if run is None else f"task '{run.task.instruction}': {run.task.phase.name.lower()}"
        report = {
            **self._cadence.report(),
            "chunks": self._sequence,
            "ticks_missed": self._worker.ticks_missed,
            "messages_lost": self._queue.lost,
            "waiting_for": "" if run is None else run.task.waiting_for,
            "checkpoint": self.get_parameter("checkpoint").value or "untrained",
        }
        name = self.get_fully_qualified_name()
        message = DiagnosticArray(
            status=[
                diagnostic(
                    f"{name}: inputs", self._cell.name, inputs, "complete and recent", {**ages, **counts}, disbelief
                ),
                diagnostic(f"{name}: inference", self._cell.name, self._inference_problem(), activity, report),
            ]
        )
        message.header.stamp = now.to_msg()
        self._queue.put(self._diagnostics.publish, message)

    # Logging, in the publish queue's thread: it publishes too. rclpy ties severity and throttling to the line.

    def _log(self, text: str) -> None:
        self.get_logger().info(text)

    def _log_rejected(self, reason: str) -> None:
        self.get_logger().warning(f"task rejected: {reason}")

    def _log_disbelief(self, why: str) -> None:
        self.get_logger().warning(f"joint state not believed: {why}", throttle_duration_sec=5.0)

    def _log_failure(self, error: Exception) -> None:
        self.get_logger().error(f"the policy failed: {error}", throttle_duration_sec=1.0)

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds


def _in_words(problems: tuple[Problem, ...]) -> str:
    return "; ".join(map(str, problems))


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters, cell or checkpoint are wrong, else 0."""
    stop = start_ros(args)
    try:
        node = PolicyNode()
    except SETUP_ERRORS as error:
        print(f"policy_node: {error}", file=sys.stderr)
        return 2
    executor = EventsExecutor()
    executor.add_node(node)
    try:
        while not stop:
            executor.spin_once(timeout_sec=SIGNAL_POLL)
    finally:  # also when a callback failed: the arm comes to rest without waiting for a timeout
        node.close()
    farewell = time.monotonic() + FAREWELL
    while time.monotonic() < farewell:
        executor.spin_once(timeout_sec=FAREWELL)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0
