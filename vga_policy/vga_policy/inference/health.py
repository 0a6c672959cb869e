"""What is wrong with a running policy, and what it tells of itself."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from vga_policy.inference.cycle_statistics import CycleStatistics
from vga_policy.inference.task import Task
from vga_policy.inference.worker import Worker
from vga_policy.observation.joint_states import Disbelief, JointStateError
from vga_policy.observation.resampler import Problem, Resampler
from vga_policy.topics import POLICY_REHEARSAL_MS

STUCK_AFTER = 0.3  # s one control cycle may take before the policy reports itself unhealthy
DISBELIEF_SHOWN = 5.0  # s a joint state that is not believed stays in the words of a report


ACTS = 3  # as many in a row take longer than that before the policy counts as too slow, and not as held up once


def too_slow(seconds: float, limit: float, device: str) -> str:
    """Why a policy whose fastest act of late took so long cannot keep up, and the remedy; empty where it can."""
    if seconds <= limit:
        return ""
    gpu = "" if device.startswith("cuda") else "a GPU (device:=cuda), more threads (threads:=N) or "
    return f"a chunk takes {seconds:.2g} s on {device}, limit {limit:.2g} s: use {gpu}a smaller policy"


def in_words(problems: tuple[Problem, ...]) -> str:
    """Problems of the inputs as one line."""
    return "; ".join(map(str, problems))


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


@dataclass(frozen=True)
class Health:
    """What is wrong at one instant; empty where nothing is.

    sender: with who sends the joint states, whatever they say. inputs: with what has come. inference: with computing.
    """

    sender: str
    inputs: tuple[Problem, ...]
    inference: str

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.sender or self.inputs or self.inference)

    @property
    def input_problem(self) -> str:
        """What is wrong with the inputs and their sender."""
        return _joined(self.sender, in_words(self.inputs))

    @property
    def reason(self) -> str:
        """All that is wrong, as one line."""
        return _joined(self.sender, in_words(self.inputs), self.inference)

    @property
    def kind(self) -> object:
        """Equal for two instants that differ in no more than figures."""
        return bool(self.sender), bool(self.inference), [(problem.input, problem.fault) for problem in self.inputs]


@dataclass(frozen=True)
class Report:
    """One part of the policy: a problem, else a warning, else what is fine; and its figures by name."""

    problem: str
    warning: str
    fine: str
    values: Mapping[str, object]


class HealthMonitor:
    """Looks at the parts of a running policy. Two clocks: ns of the policy's, and monotonic seconds of the host's."""

    def __init__(
        self,
        resampler: Resampler,
        cadence: CycleStatistics,
        worker: Worker,
        encoder: Worker,
        seconds: float = 0.0,
        device: str = "cpu",
    ) -> None:
        """`worker`, `encoder`: of control cycles, and of new instructions. `seconds`: of an act on `device` so far."""
        self._acts = deque([seconds], maxlen=ACTS)
        self._device = device
        self._resampler, self._cadence = resampler, cadence
        self._worker, self._encoder = worker, encoder
        self._disbelieved: Counter[Disbelief] = Counter()
        self._disbelief, self._disbelief_at = "", 0.0

    def took(self, seconds: float) -> None:
        """An act, from the observation to the chunk, has taken so long."""
        self._acts.append(seconds)

    def disbelieve(self, error: JointStateError, monotonic: float) -> None:
        """A joint state was passed over, at this time."""
        self._disbelieved[error.kind] += 1
        self._disbelief, self._disbelief_at = str(error), monotonic

    def look(self, now_ns: int, sender: str) -> Health:
        """How the policy is now; `sender`: what is known to be wrong with who sends the joint states."""
        return Health(sender, self._resampler.problems(now_ns), self._inference_problem())

    def inputs(self, health: Health, now_ns: int, monotonic: float) -> Report:
        """What comes in: the age of every input, and the joint states that were not believed."""
        ages = {f"{name}_age_s": "none" if age is None else age for name, age in self._resampler.ages(now_ns).items()}
        counts = {f"joint_states_{kind}": self._disbelieved[kind] for kind in Disbelief}
        recent = self._disbelief and monotonic - self._disbelief_at < DISBELIEF_SHOWN
        disbelief = f"joint states not believed, the last: {self._disbelief}" if recent else ""
        return Report(health.input_problem, disbelief, "complete and recent", {**ages, **counts})

    def inference(self, health: Health, task: Task | None, chunks: int, messages_lost: int, checkpoint: str) -> Report:
        """What is done with it: the running task, and the cadence of its chunks."""
        rehearsal = self._cadence.rehearsal
        values = {
            **self._cadence.report(),
            **({} if rehearsal is None else {POLICY_REHEARSAL_MS: 1e3 * rehearsal}),
            "chunks": chunks,
            "ticks_missed": self._worker.ticks_missed,
            "messages_lost": messages_lost,
            "instruction": "" if task is None else task.instruction,
            "waiting_for": "" if task is None else task.waiting_for,
            "checkpoint": checkpoint or "untrained",
        }
        activity = "idle" if task is None else f"task '{task.instruction}': {task.phase.name.lower()}"
        return Report(health.inference, "", activity, values)

    def _inference_problem(self) -> str:
        if (busy := self._worker.busy_for()) > STUCK_AFTER:
            return f"inference has been running for {busy:.2f} s, limit {STUCK_AFTER} s"
        slow = too_slow(min(self._acts), STUCK_AFTER, self._device)
        return self._worker.failure or slow or self._encoder.failure
