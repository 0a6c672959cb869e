"""Compares a running policy's views with those that it was trained on, now and then."""

from __future__ import annotations

from vga_policy.cell.schema import Cell
from vga_policy.inference.health import Report
from vga_policy.observation.observation import Observation
from vga_policy.viewpoint.compare import ViewComparison, ViewVerdict
from vga_policy.viewpoint.reference import OPEN, References

NO_REFERENCE = "not compared: the checkpoint keeps no picture of its views"


class ViewCheck:
    """Takes an observation when it is to look (one thread), compares (another) and reports (any).

    references: the checkpoint's; None: it keeps none, and nothing is compared.
    """

    def __init__(self, cell: Cell, references: References | None) -> None:
        self._cell = cell
        self._comparison = None if references is None else ViewComparison(references)
        self._looks = self._comparison is not None
        self._observation: Observation | None = None
        self._verdicts: tuple[ViewVerdict, ...] = ()

    def again(self) -> None:
        """Asks for another comparison."""
        self._looks = self._comparison is not None

    def offer(self, observation: Observation) -> bool:
        """Whether this observation shall be compared: call `compare` then."""
        if not self._looks:
            return False
        self._looks, self._observation = False, observation
        return True

    def compare(self) -> str:
        """Compares what was offered; in words what has changed since the last time, empty where nothing has."""
        observation, self._observation = self._observation, None
        if observation is None or self._comparison is None:
            return ""
        before = self.changed
        hand_open = bool(observation.proprioception[-1] >= OPEN * self._cell.gripper.max_width)
        verdicts = [
            self._comparison.judge(camera.name, slot, image, hand_open=hand_open)
            for slot, (camera, image) in enumerate(zip(self._cell.views, observation.images, strict=True))
        ]
        self._verdicts = tuple(verdict for verdict in verdicts if verdict is not None)
        return self.changed if self.changed != before else ""

    @property
    def changed(self) -> str:
        """The views that are not what they were, in a line; empty where all are, or none was compared."""
        return "; ".join(f"{verdict} ({verdict.remedy})" for verdict in self._verdicts if not verdict.same)

    @property
    def refusal(self) -> str:
        """Why no task may begin; empty where the cell file does not ask for that."""
        if self._cell.inputs.changed_view == "warn" or not self.changed:
            return ""
        return f"a view is not what the policy was trained on: {self.changed}"

    def report(self) -> Report:
        """For diagnostics."""
        fine = NO_REFERENCE if self._comparison is None else "as in the training data"
        if self._comparison is not None and not self._verdicts:
            fine = "not compared yet"
        return Report("", self.changed, fine, {verdict.camera: verdict for verdict in self._verdicts})
