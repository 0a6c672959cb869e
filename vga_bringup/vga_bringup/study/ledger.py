"""The study's database: whose turn it is, and what came of it. Everything that fieldtrial keeps goes through here."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldtrial.analysis.records import TrialRecord
from fieldtrial.design import StudyValidationError, design_hash, load_study
from fieldtrial.services import ServiceError, StudyContext, open_study
from fieldtrial.services.session import end_session, list_sessions, start_session
from fieldtrial.services.study import lock_study, status_of, unblind_study
from fieldtrial.services.trial import (
    SlotView,
    collect_records,
    complete_trial,
    invalidate_trial,
    list_trials,
    next_slot,
    pending_slots,
    record_runner_output,
    start_trial,
)
from fieldtrial.store.db import DB_FILENAME
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import locate
from vga_policy.evaluate.trials import Outcome, Trial

from vga_bringup.study.design import digest_of, require_usable
from vga_bringup.study.errors import StudyError
from vga_bringup.trials.actors import SPECIAL, digest

LOCK = ".running"
TERMINATION = {
    Outcome.SUCCESS: "success",
    Outcome.FAILED: "other",
    Outcome.STEP_LIMIT: "timeout",
    Outcome.FAULT: "robot_fault",
}
OUTCOMES = {termination: outcome for outcome, termination in TERMINATION.items()}
DONE, NOT_DONE = 0, -1  # stages of the rubric
REFUSED = "refused_"  # begins a figure of a trial: chunks refused, by reason


@dataclass(frozen=True)
class Arm:
    """One policy under one view. policy: its name in tables. checkpoint: as the graph takes it. cameras: by slot."""

    id: str
    policy: str
    checkpoint: str
    weights: str
    view: str
    cameras: tuple[str, ...]
    max_steps: int


@dataclass(frozen=True)
class Turn:
    """The next trial. number: of `total`. code: the arm's, all that the operator may know of it. seed: of the start."""

    slot: str
    number: int
    total: int
    code: str
    arm: Arm
    task: str
    seed: int

    def in_words(self) -> str:
        """As the operator sees it."""
        return f"trial {self.number} of {self.total}: arm {self.code}, {self.task.replace('_', ' ')}, start {self.seed}"


def lock(folder: Path) -> int:
    """Locks the design, which draws order and codes; how many trials it has. Raises StudyError."""
    try:
        return lock_study(folder).slots
    except (ServiceError, StudyValidationError) as error:
        raise StudyError(f"{folder}: {_in_a_line(error)}") from None


class Ledger:
    """An open study. `open_ledger` makes it."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._session = ""
        self.folder = Path(context.folder)
        self.name = context.spec.name
        self.arms = {
            arm.id: Arm(
                id=arm.id,
                policy=str(arm.policy["name"]),
                checkpoint=str(arm.policy["checkpoint"]),
                weights=str(arm.policy["weights"]),
                view=str(arm.serving["view"]),
                cameras=tuple(arm.serving["cameras"]),
                max_steps=int(arm.serving["max_steps"]),
            )
            for arm in context.spec.arms
        }

    @property
    def protocol(self) -> str:
        """Names the cell and the starts that the arms were locked with."""
        return str(self._context.spec.arms[0].serving["protocol"])

    def begin_session(self, operator: str, rig: str) -> list[str]:
        """A stretch of trials begins; what trials of an earlier one, which was killed, are void and will be run again.

        Raises StudyError.
        """
        void = []
        for trial in list_trials(self._context):
            if trial.status == "running":
                invalidate_trial(self._context, trial.trial_id, "killed in the middle", reschedule="block")
                void.append(f"arm {trial.slot.blind_code}, {trial.slot.condition}")
        for session in list_sessions(self._context, open_only=True):
            end_session(self._context, session.session_id)
        self._session = start_session(self._context, operator=operator or "nobody", rig=rig)
        return void

    def end_session(self) -> None:
        """The stretch ends."""
        if self._session:
            end_session(self._context, self._session)

    def next(self) -> Turn | None:
        """Whose turn it is; None when all trials are done."""
        slot = next_slot(self._context)
        return None if slot is None else self._turn(slot, self.progress()[0] + 1)

    def missing(self) -> list[Turn]:
        """All trials still to be run, in order."""
        done = self.progress()[0]
        return [self._turn(slot, done + 1 + i) for i, slot in enumerate(pending_slots(self._context))]

    def begin(self, turn: Turn) -> str:
        """The trial begins; what it is called. From now on it is void unless `complete` is told its end."""
        return start_trial(self._context, turn.slot, self._session).trial_id

    def complete(self, name: str, trial: Trial, reset: Mapping[str, float], episode: str) -> None:
        """The trial's end. reset: share of each camera's pixels that differed from the reference. episode: where."""
        figures: dict[str, float] = {"steps": trial.steps, "chunks": trial.chunks}
        if trial.chunk_rate is not None:
            figures["chunk_rate"] = trial.chunk_rate
        figures |= {f"{REFUSED}{reason}": count for reason, count in trial.refused.items()}
        figures |= {f"reset_{camera}": round(share, 5) for camera, share in reset.items()}
        record_runner_output(self._context, name, metrics=figures, log=episode or None)
        complete_trial(
            self._context,
            name,
            stage_index=DONE if trial.success else NOT_DONE,
            termination=TERMINATION[trial.outcome],
            notes=trial.reason,
            duration_s=trial.seconds,
        )

    def void(self, name: str, reason: str) -> None:
        """The trial does not count, and will be run again."""
        invalidate_trial(self._context, name, reason, reschedule="block")

    def progress(self) -> tuple[int, int]:
        """How many trials are done, and of how many."""
        status = status_of(self._context)
        return status.done, status.done + status.pending

    @property
    def blinded(self) -> bool:
        """Whether nobody has asked yet which code is which arm."""
        return status_of(self._context).blinded

    def unblind(self) -> None:
        """Reveals the arms. fieldtrial logs it, and says so in its report where trials were missing."""
        unblind_study(self.folder)

    def records(self) -> list[TrialRecord]:
        """The trials that count, in the order in which they ran."""
        return [record for record in collect_records(self._context)[0] if record.status == "completed"]

    def require_unchanged(self, cell: Cell) -> None:
        """Raises StudyError where the study, its files or a policy's weights are not what was locked."""
        self._require_design()
        if digest_of(self.folder) != self.protocol:
            raise StudyError(
                f"{self.folder}: cell.yaml or starts.json was changed after locking: put it back (from a backup or "
                "version control), or make a new study"
            )
        for arm in {arm.policy: arm for arm in self.arms.values()}.values():
            place = arm.checkpoint if arm.checkpoint in SPECIAL else str(locate(arm.checkpoint))
            require_usable(arm.policy, place, cell)
            if digest(place) != arm.weights:
                raise StudyError(
                    f"policy {arm.policy}: {place} has other weights than when the study was locked: put the former "
                    "ones back, or make a new study"
                )

    def _require_design(self) -> None:
        try:
            found = design_hash(load_study(self.folder).spec)
        except StudyValidationError as error:
            raise StudyError(f"{self.folder / 'study.yaml'}: {_in_a_line(error)}") from None
        if found != status_of(self._context).design_hash:
            raise StudyError(
                f"{self.folder / 'study.yaml'}: changed after locking: put it back, or have the change logged and "
                f'named in the report: fieldtrial amend {self.folder} --reason "..."'
            )

    def _turn(self, slot: SlotView, number: int) -> Turn:
        factors: Mapping[str, Any] = slot.factors
        total = self.progress()[1]
        return Turn(
            slot=slot.slot_id,
            number=number,
            total=total,
            code=slot.blind_code,
            arm=self.arms[slot.arm],
            task=str(factors["task"]),
            seed=int(factors["start"]),
        )


@contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """The locked study in `folder`, for one process at a time. Raises StudyError."""
    if not (folder / DB_FILENAME).exists():
        made = "is not locked: fieldtrial lock" if (folder / "study.yaml").exists() else "no study is here: --create"
        raise StudyError(f"{folder}: {made}")
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"{folder}: another vga eval robot has this study: end it first") from None
        try:
            with open_study(folder) as context:
                yield Ledger(context)
        except ServiceError as error:
            raise StudyError(f"{folder}: {_in_a_line(error)}") from None


def outcome(record: TrialRecord) -> Outcome:
    """How the trial ended, in the terms of `Trial`."""
    if record.success:
        return Outcome.SUCCESS
    found = OUTCOMES.get(record.termination or "", Outcome.FAILED)
    return Outcome.FAILED if found is Outcome.SUCCESS else found  # relabeled by hand


def _in_a_line(error: Exception) -> str:
    return "; ".join(str(error).splitlines())
