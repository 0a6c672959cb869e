"""The policy as a ROS 2 node: images, joint states and an instruction in, action chunks out, at the control rate.

Subscribes to the views' color images, compressed (or raw, as the parameter has it), /joint_states and
/franka_driver/state. Joint states that the robot cannot be in are passed over; while more than one node publishes
them, the policy is unhealthy and takes no task.
Publishes /policy/action_chunk while a task runs, /policy/heartbeat at 20 Hz and /diagnostics at 1 Hz.
Offers the action /policy/run_task. Neither the control cycle nor the heartbeat waits for DDS: the publish queue's
thread publishes everything.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from vga_msgs.action import RunTask
from vga_msgs.msg import ActionChunk as ActionChunkMsg
from vga_msgs.msg import DriverState, PolicyHeartbeat
from vga_policy.cell.errors import CellError
from vga_policy.checkpoints.checkpoint import CheckpointError
from vga_policy.inference.cycle_statistics import CycleStatistics
from vga_policy.inference.dump import dump_inputs
from vga_policy.inference.health import Health, HealthMonitor, Report, in_words, too_slow
from vga_policy.inference.policy import Policy, PolicyError
from vga_policy.inference.task import Phase, Task
from vga_policy.inference.task_runner import TaskRunner
from vga_policy.inference.untrained import untrained_policy
from vga_policy.inference.view_check import ViewCheck
from vga_policy.inference.worker import Worker
from vga_policy.message_constants import TaskOutcome
from vga_policy.observation.joint_states import JointStateError, JointStates
from vga_policy.observation.observation import Observation
from vga_policy.observation.resampler import JpegImage, Resampler
from vga_policy.ros import topics
from vga_policy.ros.clocks import ClockWatch, SetClock, each_step, every
from vga_policy.ros.diagnostics import judged
from vga_policy.ros.messages import RawImage, chunk_message, uuid_message
from vga_policy.ros.node import CellNode, run_node
from vga_policy.ros.parameters import NodeParameter
from vga_policy.ros.publishers import SolePublisher
from vga_policy.text.pretrained import EncoderError
from vga_policy.units import nanoseconds

HEARTBEAT_RATE = 20.0  # Hz
JOINTS_DEPTH = 200  # messages kept while the executor is busy: a lost one would change the interpolation
REHEARSAL_PERIOD = 1.0  # s between acts without a task: the first chunk comes as fast as any, and faults show early
LOOK_PERIOD = 1.0  # s between two looks who publishes the joint states
VIEWS_PERIOD = 60.0  # s between two comparisons of the views with the training data's, while no task runs
FAREWELL = 0.2  # s in which the last heartbeat and the result of an interrupted task go out

BEST_EFFORT = partial(QoSProfile, reliability=ReliabilityPolicy.BEST_EFFORT)


class PolicyNode(CellNode):
    """Wires topics to the resampler, the policy and the running task.

    The control cycle runs in the worker's thread, encoding instructions in the encoder's, publishing in the queue's,
    everything else in the executor's.
    """

    checkpoint = NodeParameter(
        "", "directory of trained weights; empty: an untrained policy that only keeps the arm moving"
    )
    views = NodeParameter[list[str]]([], "camera names for the view slots; empty: the cell's")
    threads = NodeParameter(1, "cores the model computes on")
    device = NodeParameter("auto", "torch's name of where the model computes; auto: a GPU if there is one")
    image_transport = NodeParameter("compressed", "compressed (what the policy is trained on) or raw")
    dump = NodeParameter("", "directory to keep every prepared input in, for comparison with training's; empty: none")

    def __init__(self) -> None:
        super().__init__(topics.POLICY)

    def configure(self) -> None:
        """Loads the policy. Raises CellError, CheckpointError, EncoderError or PolicyError."""
        super().configure()
        if self.views:
            self.cell = self.cell.with_views(self.views)
        if self.image_transport not in ("compressed", "raw"):
            raise CellError(f"parameter 'image_transport' must be compressed or raw (found {self.image_transport!r})")
        self._policy = self._load_policy()
        # Slower, and a chunk is over before the next one is there.
        if slow := too_slow(self._policy.seconds, self.cell.action.horizon * self.cell.dt, self._policy.device):
            raise PolicyError(slow)
        self._resampler = Resampler([camera.name for camera in self.cell.views], self.cell.inputs)
        self._view_check = ViewCheck(self.cell, self._policy.checkpoint.references)
        self._joint_states = JointStates(self.cell)
        self._arm = SolePublisher(self, topics.JOINT_STATES)
        self._clocks, self._system_clock = ClockWatch(), SetClock()
        self._cadence = CycleStatistics()
        self._runner = TaskRunner(
            self.cell.dt,
            self.resolve_topic_name(topics.DRIVER_STATE),
            self.resolve_service_name(topics.DRIVER_SET_MODE),
            self._on_start,
            self._on_end,
        )
        self._sequence = 0
        self._reported: object = None
        self._chunks = self.create_publisher(ActionChunkMsg, topics.POLICY_ACTION_CHUNK, 10)
        self._heartbeat = self.create_publisher(PolicyHeartbeat, topics.POLICY_HEARTBEAT, 10)

    def activate(self) -> None:
        """Takes inputs and goals from now on, and rehearses."""
        self.start_publish_queue()
        self._encoder = Worker(self._encode, self._on_failure)
        self.resources.callback(self._encoder.stop)
        self._worker = Worker(self._cycle, self._on_failure)
        self.resources.callback(self._worker.stop)
        self._beholder = Worker(self._compare_views, self._on_failure)
        self.resources.callback(self._beholder.stop)
        # First says so to the driver: the arm comes to rest without waiting for a timeout.
        self.resources.callback(self._runner.end, TaskOutcome.ABORTED, "the policy node is shutting down")
        self._monitor = HealthMonitor(
            self._resampler, self._cadence, self._worker, self._encoder, self._policy.seconds, self._policy.device
        )
        for camera in self.cell.views:
            self._subscribe_image(camera.name)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, BEST_EFFORT(depth=JOINTS_DEPTH))
        self.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED)
        self._tasks = self.create_long_action(
            RunTask, topics.POLICY_RUN_TASK, self._begin, goal_callback=self._admit, cancel_callback=self._cancel
        )
        each_step(self, self.cell.dt, self._on_tick)
        every(self, REHEARSAL_PERIOD, self._rehearse)
        every(self, VIEWS_PERIOD, self._view_check.again)
        every(self, 1.0 / HEARTBEAT_RATE, self._beat)
        every(self, LOOK_PERIOD, self._arm.look)
        self.start_diagnostics()
        # A replay that starts over sets the clock back: samples of its first round are from the future then.
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
        self._jump = self.get_clock().create_jump_callback(backwards, post_callback=self._on_clock_set_back)

    def _load_policy(self) -> Policy:
        if self.checkpoint:
            self.get_logger().info(f"policy from {self.checkpoint}")
            return Policy.from_pretrained(self.checkpoint, self.cell, device=self.device, threads=self.threads)
        self.get_logger().warning("no checkpoint: this policy is UNTRAINED; it keeps the arm moving and does no task")
        return untrained_policy(self.cell, device=self.device, threads=self.threads)

    # Inputs.

    def _subscribe_image(self, camera: str) -> None:
        names, qos = topics.camera(camera), BEST_EFFORT(depth=5)
        if self.image_transport == "raw":
            self.create_subscription(Image, names.image, partial(self._on_raw_image, camera), qos)
        else:
            self.create_subscription(CompressedImage, names.compressed, partial(self._on_image, camera), qos)

    def _on_image(self, camera: str, message: CompressedImage) -> None:
        self._resampler.push_image(camera, nanoseconds(message.header.stamp), JpegImage(bytes(message.data)))

    def _on_raw_image(self, camera: str, message: Image) -> None:
        self._resampler.push_image(camera, nanoseconds(message.header.stamp), RawImage(message))

    def _on_joints(self, message: JointState) -> None:
        self._clocks.take(message.header.stamp)
        try:
            sample = self._joint_states.believed(message.name, message.position)
        except JointStateError as error:
            self._monitor.disbelieve(error, time.monotonic())
            self._resampler.pass_over_joints(str(error))
            self.send(self._log_disbelief, str(error))
        else:
            self._resampler.push_joints(nanoseconds(message.header.stamp), sample)

    def _on_driver(self, message: DriverState) -> None:
        self._runner.hear_driver(message.mode, message.hold_reason, self._now(), bytes(message.goal_id.uuid))
        self._follow_driver()

    def _on_clock_set_back(self, _jump: TimeJump) -> None:
        self._resampler.clear()
        self._runner.end(TaskOutcome.ABORTED, "the clock was set back")

    def _look_at_clock(self) -> None:
        """Where the system's clock was set, samples of before are not from when they say, and the task ends."""
        if self.get_clock().ros_time_is_active:
            return  # stamps are simulated time's
        if self._system_clock.look():
            self._runner.end(TaskOutcome.ABORTED, self._system_clock.problem)
            self.send(self._log_clock, self._system_clock.problem)
        if self._system_clock.problem:
            self._resampler.clear()

    # The control cycle: asked for by the tick, run in the worker's thread.

    def _on_tick(self) -> None:
        self._look_at_clock()
        self._follow_driver()
        task = self._runner.task
        if task is None:
            return
        if task.phase is Phase.WAITING:
            self._encoder.tick()
            self._give_feedback(task)
        elif not self._runner.advance(self._now()):
            return
        elif problem := self._sender_problem():
            task.waiting_for = problem
            self._give_feedback(task)
        else:
            self._worker.tick()

    def _rehearse(self) -> None:
        if self._runner.task is None:
            self._worker.tick()
            self._encoder.tick()  # a failure it had with the last task is over

    def _encode(self) -> None:
        """A waiting task's instruction, before the task starts: a control cycle has no time for a large encoder."""
        if (task := self._runner.task) is not None and not task.encoded:
            self._policy.encode(task.instruction)
            task.encoded = True

    def _cycle(self) -> None:
        """One observation becomes one chunk; without a task it is a rehearsal, and nobody gets to see the chunk."""
        task = self._runner.task
        if task is not None and not task.encoded:  # a task overtook the rehearsal
            return
        started_ns, started = self._now(), time.perf_counter()
        observation = self._resampler.observe(started_ns, task.instruction if task else "")
        if not isinstance(observation, Observation):
            if task is not None:
                task.waiting_for = in_words(observation)
                self._give_feedback(task)
            return
        inputs = self._policy.prepare(observation)
        prepared = time.perf_counter()
        if self.dump:
            dump_inputs(Path(self.dump), observation, self._policy.checkpoint)
        chunk = self._policy.predict(inputs)
        predicted = time.perf_counter()
        self._monitor.took(predicted - started)
        if task is None:
            self._cadence.rehearsed(predicted - started)
            if self._view_check.offer(observation):
                self._beholder.tick()
            return
        message = chunk_message(self.cell, task.goal_id, observation, chunk, started_ns, self._now())
        with task.publishing() as live:
            if not live:
                return
            self._sequence += 1
            message.sequence = self._sequence
            self.send(self._chunks.publish, message)
            task.chunks += 1
        task.waiting_for = ""
        self._cadence.record(time.monotonic(), prepare=prepared - started, predict=predicted - prepared)
        self._give_feedback(task)

    def _compare_views(self) -> None:
        """Beside the control cycle, which does not wait for it."""
        if changed := self._view_check.compare():
            self.send(self._log_views, changed)

    def _on_failure(self, error: Exception) -> None:
        self.send(self._log_failure, error)
        if (task := self._runner.task) is not None:
            task.waiting_for = f"the policy failed: {error}"
            self._give_feedback(task)

    def _give_feedback(self, task: Task) -> None:
        feedback = RunTask.Feedback(steps=task.steps, chunk_sequence=self._sequence, waiting_for=task.waiting_for)
        self.send(task.goal.publish_feedback, feedback)

    # The running task.

    def _admit(self, request: RunTask.Goal) -> GoalResponse:
        if not (refusal := self._runner.refusal(request.instruction)):
            return GoalResponse.ACCEPT
        self.send(self._log_rejected, refusal)
        return GoalResponse.REJECT

    def _begin(self, goal: ServerGoalHandle) -> None:
        request = goal.request
        self._cadence.clear()
        self._arm.look()
        goal_id = bytes(goal.goal_id.uuid)
        self._runner.begin(goal_id, request.instruction, request.max_steps, goal, self._now(), self._start_problem())
        if self._runner.task is not None:
            self._encoder.tick()
            self._follow_driver()

    def _follow_driver(self) -> None:
        self._runner.follow_driver(self._now(), self._encoder.failure)

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        return CancelResponse.ACCEPT if self._runner.cancel(goal) else CancelResponse.REJECT

    def _on_start(self, task: Task) -> None:
        self.send(self._log, f"task '{task.instruction}' runs")
        self._beat()

    def _on_end(self, task: Task) -> None:
        """Answers the goal; from here on no chunk of it is published and the heartbeat is without goal."""
        self._tasks.conclude(task.goal, lambda goal: self._answer(goal, task))
        self._beat()
        self.send(
            self._log, f"task '{task.instruction}' ended after {task.steps} steps, {task.chunks} chunks: {task.message}"
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
        self._look_at_clock()
        now = self.get_clock().now()
        health, task = self._health(now.nanoseconds), self._runner.task
        live = task is not None and task.phase is Phase.LIVE
        beat = PolicyHeartbeat(
            goal_id=uuid_message(task.goal_id if task is not None and live else b""),
            healthy=health.healthy,
            reason=health.reason,
        )
        beat.header.stamp = now.to_msg()
        self.send(self._heartbeat.publish, beat)
        state = (live, health.kind)
        if state != self._reported:
            self._reported = state
            self._diagnose()

    def _health(self, now_ns: int) -> Health:
        return self._monitor.look(now_ns, self._sender_problem())

    def _sender_problem(self) -> str:
        """What is wrong with the joint states, whatever they say: a clock, or that several nodes send them."""
        return "; ".join(filter(None, [self._system_clock.problem or self._clocks.problem(), self._arm.problem]))

    def _start_problem(self) -> str:
        """What keeps a task from beginning."""
        return "; ".join(filter(None, [self._arm.problem, self._view_check.refusal]))

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How inputs, inference and views do."""
        now_ns = self._now()
        health = self._health(now_ns)
        inputs = self._monitor.inputs(health, now_ns, time.monotonic())
        inference = self._monitor.inference(
            health, self._runner.task, self._sequence, self.messages_lost, self.checkpoint
        )
        parts = {"inputs": inputs, "inference": inference, "views": self._view_check.report()}
        return [self._part_of(name, report) for name, report in parts.items()]

    def _part_of(self, name: str, report: Report) -> DiagnosticStatus:
        level, message = judged(report.problem, report.warning, report.fine)
        return self.part(name, self.cell.name, level, message, report.values)

    # Logging, in the publish queue's thread: it publishes too. rclpy ties severity and throttling to the line.

    def _log(self, text: str) -> None:
        self.get_logger().info(text)

    def _log_rejected(self, reason: str) -> None:
        self.get_logger().warning(f"task rejected: {reason}")

    def _log_views(self, changed: str) -> None:
        self.get_logger().warning(f"a view is not what the policy was trained on: {changed}")

    def _log_clock(self, why: str) -> None:
        self.get_logger().error(why)

    def _log_disbelief(self, why: str) -> None:
        self.get_logger().warning(f"joint state not believed: {why}", throttle_duration_sec=5.0)

    def _log_failure(self, error: Exception) -> None:
        self.get_logger().error(f"the policy failed: {error}", throttle_duration_sec=1.0)

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters, cell or checkpoint are wrong, else 0."""
    return run_node(
        "policy_node",
        PolicyNode,
        args,
        executor=EventsExecutor,
        refusals=(CheckpointError, EncoderError, PolicyError),
        interruptible=True,
        farewell=FAREWELL,
    )
