"""What a study has shown: fieldtrial's own report, and the paper's Table 3 from the same database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fieldtrial.analysis.records import TrialRecord
from fieldtrial.report import render_html, render_markdown
from fieldtrial.services.analysis import analyze_study
from vga_policy.cell.schema import Cell
from vga_policy.evaluate.results import GRAPH, Conditions, Evaluation
from vga_policy.evaluate.tables import files
from vga_policy.evaluate.tables.table import Table, compare
from vga_policy.evaluate.trials import Trial
from vga_policy.files import write_atomically

from vga_bringup.study.design import Start
from vga_bringup.study.ledger import REFUSED, Arm, Ledger, outcome

DIRECTORY = "reports"


def write(ledger: Ledger, cell: Cell, starts: dict[tuple[str, int], Start]) -> Table:
    """Writes both into the study's reports/, with each arm's trials as `vga eval sim` has them; the table.

    The study must be unblinded. Raises OSError.
    """
    directory = ledger.folder / DIRECTORY
    directory.mkdir(exist_ok=True)
    results = analyze_study(ledger.folder)
    write_atomically(directory / "report.html", render_html(results))
    write_atomically(directory / "report.md", render_markdown(results))
    tried = evaluations(ledger, cell, starts)
    for arm, evaluation in tried.items():
        evaluation.save(directory / arm)
    table = compare([evaluation for evaluation in tried.values() if evaluation.trials])
    files.save(table, directory)
    return table


def evaluations(ledger: Ledger, cell: Cell, starts: dict[tuple[str, int], Start]) -> dict[str, Evaluation]:
    """The trials that count, by arm."""
    records, missing = ledger.records(), ledger.missing()
    return {
        name: Evaluation(
            _conditions(arm, cell, min(seed for _, seed in starts)),
            tuple(sorted((_trial(record, cell, starts) for record in _of(records, name)), key=_place)),
            tuple(sorted((turn.task, turn.seed) for turn in missing if turn.arm.id == name)),
            str(ledger.folder),
        )
        for name, arm in ledger.arms.items()
    }


def _of(records: Sequence[TrialRecord], arm: str) -> list[TrialRecord]:
    return [record for record in records if record.arm == arm]


def _place(trial: Trial) -> tuple[str, int]:
    return trial.task, trial.seed


def _conditions(arm: Arm, cell: Cell, seed: int) -> Conditions:
    return Conditions(
        method=arm.policy,
        camera_set=arm.view,
        cameras=arm.cameras,
        strategy=str(cell.execution.strategy),
        max_steps=arm.max_steps,
        path=GRAPH,
        seed=seed,
        checkpoint=Path(arm.checkpoint).name,
        weights=arm.weights,
        cell=cell.name,
    )


def _trial(record: TrialRecord, cell: Cell, starts: dict[tuple[str, int], Start]) -> Trial:
    factors = dict(part.split("=", 1) for part in record.condition.split(","))
    start, figures = starts[factors["task"], int(factors["start"])], record.runner_metrics
    steps = int(figures.get("steps", 0))
    return Trial(
        task=start.task,
        seed=start.seed,
        instruction=start.instruction,
        outcome=outcome(record),
        steps=steps,
        seconds=round(steps * cell.dt, 6),
        reason=record.notes or "",
        chunks=int(figures.get("chunks", 0)),
        refused={name.removeprefix(REFUSED): int(count) for name, count in figures.items() if name.startswith(REFUSED)},
        chunk_rate=figures.get("chunk_rate"),
    )
