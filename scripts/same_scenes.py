#!/usr/bin/env python3
"""In how many trials of the same scenes results differ: success in one, none in the other.

eval "$(make -s env)" && scripts/same_scenes.py out/study_sim/study/reports out/study_sim/sim/1 out/study_sim/sim/2

Each directory holds one results.json a policy and view, in folders of the same names.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

from vga_policy.evaluate.results import load


def outcomes(directory: Path) -> dict[tuple[str, str, int], bool]:
    """Success by arm, task and seed."""
    arms = sorted(file.parent for file in directory.glob("*/results.json"))
    return {(arm.name, trial.task, trial.seed): trial.success for arm in arms for trial in load(arm).trials}


def main(directories: list[Path]) -> None:
    """A line each pair of directories, with the trials that differ."""
    found = {directory: outcomes(directory) for directory in directories}
    for directory, trials in found.items():
        print(f"{directory}: {sum(trials.values())} of {len(trials)} trials succeed")
    for one, other in combinations(directories, 2):
        both = sorted(found[one].keys() & found[other].keys())
        differ = [key for key in both if found[one][key] != found[other][key]]
        told = ", ".join(f"{arm} {task} {seed}" for arm, task, seed in differ)
        print(f"{one} and {other}: {len(differ)} of {len(both)} trials differ{': ' * bool(told)}{told}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
