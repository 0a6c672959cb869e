"""`vga bench loader`: training samples a second, straight from the bags and by LeRobot's reader from its own format."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vga_policy.data.dataset import EpisodeDataset

HERE = Path(__file__).parent
READER = HERE / "lerobot_reader.py"
HELPERS = HERE.parent / "evaluate" / "baseline"  # torchvision beside a CPU build of torch
FOREIGN = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")  # of our environment
FORMS = ("images", "video")


class BenchmarkError(RuntimeError):
    """The comparison cannot be made. The message says why."""


def loader_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga bench loader`."""
    parser = subparsers.add_parser(
        "loader",
        help="samples a second of EpisodeDataset, beside LeRobot's reader",
        description="Reads the same episodes as training would: from the bags, and by LeRobot's own reader from "
        "exported copies (images and video), with the same workers and batches, in turns. Ours resizes images to the "
        "model's size; LeRobot's does once so, and once leaves them as they are. Writes loader.json.",
    )
    parser.add_argument("--data", nargs="+", type=Path, default=[Path("out/bench/episodes")], metavar="DIR")
    parser.add_argument("--workers", type=_count, default=2, help="default: %(default)s")
    parser.add_argument("--batch", type=_positive, default=32, help="default: %(default)s")
    parser.add_argument("--image-size", type=_positive, default=112, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=3, help="default: %(default)s")
    parser.add_argument("--python", metavar="PATH", help="interpreter that has LeRobot (default: one is installed)")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.contract.files import write_atomically
    from vga_policy.data.episodes import DatasetError
    from vga_policy.lerobot.export import ExportError

    try:
        report = _compare(arguments)
    except (BenchmarkError, DatasetError, ExportError) as error:
        hint = ": collect some with `vga collect --fast`" if isinstance(error, DatasetError) else ""
        print(f"vga bench loader: {error}{hint}", file=sys.stderr)
        return 1
    write_atomically(arguments.out / "loader.json", json.dumps(report, indent=2) + "\n")
    for name, rate in report["samples_per_second"].items():
        ratio = report["ratio"].get(name)
        print(f"{name:24} {rate:8.0f} samples/s" + (f"   EpisodeDataset is {ratio:.1f} x as fast" if ratio else ""))
    return 0


def _compare(arguments: argparse.Namespace) -> dict[str, Any]:
    from vga_policy.data.dataset import EpisodeDataset
    from vga_policy.lerobot.export import export

    dataset = EpisodeDataset(arguments.data, arguments.image_size, skip_idle=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    python = arguments.python or _interpreter(arguments.out / "lerobot")
    measured: dict[str, Callable[[], float]] = {
        "bags": partial(measure_bags, dataset, arguments.batch, arguments.workers, arguments.seconds)
    }
    for form in FORMS:
        copy = arguments.out / f"loader-{form}"
        shutil.rmtree(copy, ignore_errors=True)
        export(arguments.data, copy, video=form == "video")
        for name, size in ((f"lerobot_{form}", 0), (f"lerobot_{form}_resized", arguments.image_size)):
            measured[name] = partial(_read_copy, python, copy, dataset.cell.action.horizon, size, arguments)
    rates: dict[str, list[float]] = {name: [] for name in measured}
    loads = []
    for _ in range(arguments.rounds):
        for name, measure in measured.items():  # in turns, so that what else the machine does hits all alike
            loads.append(os.getloadavg()[0])
            rates[name].append(measure())
    middle = {name: median(values) for name, values in rates.items()}
    ratios = {name: middle["bags"] / rate for name, rate in middle.items() if name != "bags"}
    return {
        "samples_per_second": {name: round(rate, 1) for name, rate in middle.items()},
        "ratio": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "ratio_to_faster": round(min(ratios.values()), 2),
        "rounds": {name: [round(rate, 1) for rate in values] for name, values in rates.items()},
        "episodes": len(dataset.episodes),
        "samples": len(dataset),
        "views": [camera.name for camera in dataset.cell.views],
        "recorded_size": [dataset.cell.views[0].color.width, dataset.cell.views[0].color.height],
        "image_size": arguments.image_size,
        "workers": arguments.workers,
        "batch": arguments.batch,
        "seconds": arguments.seconds,
        "cores": os.cpu_count(),
        "load_average": [round(load, 1) for load in loads],
    }


def measure_bags(dataset: EpisodeDataset, batch: int, workers: int, seconds: float) -> float:
    """Samples a second of our dataset, after the workers are up. Raises BenchmarkError when it fills no batch."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    loader = DataLoader(
        dataset,
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    batches = iter(loader)
    if next(batches, None) is None:
        raise BenchmarkError(f"{len(dataset)} samples make no batch of {batch}: give more episodes")
    samples, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        if (got := next(batches, None)) is None:
            batches = iter(loader)
            continue
        samples += len(got["stamp_ns"])
    return samples / (time.perf_counter() - started)


def _read_copy(python: str, copy: Path, horizon: int, size: int, arguments: argparse.Namespace) -> float:
    """Samples a second of LeRobot's reader, measured in its own interpreter; with size 0 it resizes no image."""
    command = [python, "-P", READER, copy, "--workers", arguments.workers, "--batch", arguments.batch]
    command += ["--size", size, "--horizon", horizon, "--seconds", arguments.seconds]
    environment = {**_bare_environment(), "PYTHONPATH": str(HELPERS), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
    try:
        measured = json.loads(finished.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = (finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"])[-1]
        raise BenchmarkError(f"{python}: LeRobot's reader cannot read {copy}: {said}") from None
    return float(measured["samples"] / measured["seconds"])


def _interpreter(directory: Path) -> str:
    """An environment with LeRobot's reader in `directory`, made when it is not there. Returns its interpreter."""
    import torch

    python, complete = directory / "bin" / "python", directory / "complete"
    if complete.exists():
        return str(python)
    print(f"installing LeRobot's reader into {directory}", file=sys.stderr)
    shutil.rmtree(directory, ignore_errors=True)
    venv.create(directory, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    torch_version = torch.__version__.partition("+")[0]
    for wanted in (
        [f"torch=={torch_version}"],
        [f"torch=={torch_version}", "-r", str(HERE / "requirements-lerobot.txt")],
        ["--no-deps", "-r", str(HERE / "requirements-lerobot-no-deps.txt")],
    ):
        finished = subprocess.run([*pip, *wanted], env=_bare_environment(), capture_output=True, text=True)
        if finished.returncode:
            said = (finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"])[-1]
            raise BenchmarkError(f"{directory}: pip cannot install {' '.join(wanted)}: {said}")
    complete.touch()
    return str(python)


def _bare_environment() -> dict[str, str]:
    """Ours without what leads another interpreter to our libraries."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative (found {value})")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (found {value})")
    return value
