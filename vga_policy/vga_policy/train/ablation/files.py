"""Where an ablation keeps its runs: one directory a variant, in it one run of `vga train` a seed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vga_policy.checkpoints import BEST
from vga_policy.files import write_atomically
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import CONFIG, Run

VGA = "VGA"
RUNS, NAME = "runs", "variant.txt"


class Finished(NamedTuple):
    """A variant trained to its end with one seed, in `run`."""

    variant: str
    seed: int
    run: Path

    @property
    def checkpoint(self) -> Path:
        """Its best one."""
        return self.run / BEST


def run_directory(ablation: Path, variant: str, seed: int) -> Path:
    """The directory of a variant's run."""
    name = "".join(character if character.isalnum() else "_" for character in variant.lower().replace("w/o", "without"))
    return ablation / RUNS / name / str(seed)


def write_variant(run: Path, variant: str) -> None:
    """Makes the directory of the variant's runs, which says what they are. Raises TrainingError when it cannot."""
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(run.parent / NAME, variant + "\n")
    except OSError as error:
        raise TrainingError(f"{run.parent}: cannot be written: {error}; give another --out") from None


def finished(ablation: Path) -> list[Finished]:
    """Every run that has come to its end, `VGA` first, then by name and seed."""
    found = []
    for file in ablation.glob(f"{RUNS}/*/{NAME}"):
        variant = file.read_text(encoding="utf-8").strip()
        for config in file.parent.glob(f"*/{CONFIG}"):  # a run killed while it was made has none yet
            run = config.parent
            if run.name.isdigit() and Run.open(run).finished:
                found.append(Finished(variant, int(run.name), run))
    return sorted(found, key=lambda one: (one.variant != VGA, one.variant, one.seed))
