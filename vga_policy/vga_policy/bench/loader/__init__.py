"""`vga bench loader`: training samples a second, straight from the bags and by LeRobot's reader from its own format."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from vga_policy.cli_options import add_data, add_image_size, add_out
from vga_policy.cli_types import above_zero, add_former_name, natural, positive

if TYPE_CHECKING:
    from vga_policy.bench.loader.measure import Speed

HERE = Path(__file__).parent
READER = HERE / "lerobot_reader.py"
HELPERS = HERE.parents[1] / "evaluate" / "baseline"  # torchvision beside a CPU build of torch
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
    add_data(parser, default="out/bench/episodes")
    parser.add_argument(
        "--workers", type=natural, default=2, metavar="N",
        help="The number of processes that decode samples ahead. 0 decodes in the reading process. Default: 2.",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive, default=32, metavar="SAMPLES", help="The number of samples of a step. Default: 32."
    )
    add_image_size(parser, default=112)
    parser.add_argument(
        "--duration", type=above_zero, default=8.0, metavar="S", help="The seconds of each measurement. Default: 8."
    )
    add_former_name(parser, "--seconds", "--duration")
    parser.add_argument(
        "--rounds", type=positive, default=3, metavar="N", help="How often everything is measured. Default: 3."
    )
    parser.add_argument(
        "--python", metavar="PATH", help="The interpreter that has LeRobot. Default: one is installed below --out."
    )
    add_out(parser, "The directory of what is written.", default="out/bench")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.files import write_atomically
    from vga_policy.lerobot.export import ExportError

    try:
        report = _compare(arguments)
    except DatasetError as error:
        print(f"vga bench loader: {error}: collect some with `vga collect --in-process`", file=sys.stderr)
        return 1
    except (BenchmarkError, ExportError, ValueError) as error:
        print(f"vga bench loader: {error}", file=sys.stderr)
        return 1
    write_atomically(arguments.out / "loader.json", json.dumps(report, indent=2) + "\n")
    for name, rate in report["samples_per_second"].items():
        line = f"{name:24} {rate:8.0f} samples/s {report['cpu_ms_per_sample'][name]:8.2f} ms of CPU a sample"
        ratio = report["ratio"].get(name)
        print(line + (f"   EpisodeDataset is {ratio:.1f} x as fast" if ratio else ""))
    return 0


def _compare(arguments: argparse.Namespace) -> dict[str, Any]:
    from vga_policy.bench.loader.measure import measure
    from vga_policy.dataset.dataset import EpisodeDataset
    from vga_policy.lerobot.export import export

    dataset = EpisodeDataset(arguments.data, arguments.image_size, skip_idle=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    python = arguments.python or _interpreter(arguments.out / "lerobot")
    readers: dict[str, Callable[[], Speed]] = {
        "bags": partial(measure, dataset, arguments.batch, arguments.workers, arguments.duration)
    }
    for form in FORMS:
        copy = arguments.out / f"loader-{form}"
        shutil.rmtree(copy, ignore_errors=True)
        export(arguments.data, copy, video=form == "video")
        for name, size in ((f"lerobot_{form}", 0), (f"lerobot_{form}_resized", arguments.image_size)):
            readers[name] = partial(_read_copy, python, copy, dataset.cell.action.horizon, size, arguments)
    speeds: dict[str, list[Speed]] = {name: [] for name in readers}
    loads = []
    for _ in range(arguments.rounds):
        for name, read in readers.items():  # in turns, so that what else the machine does hits all alike
            loads.append(os.getloadavg()[0])
            speeds[name].append(read())
    rates = {name: median(speed.rate for speed in found) for name, found in speeds.items()}
    cpu = {name: median(speed.cpu_ms for speed in found) for name, found in speeds.items()}
    others = [name for name in readers if name != "bags"]
    color = dataset.cell.views[0].color
    return {
        "samples_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": {name: round(rates["bags"] / rates[name], 2) for name in others},
        "ratio_to_fastest": round(rates["bags"] / max(rates[name] for name in others), 2),
        "cpu_ms_per_sample": {name: round(value, 2) for name, value in cpu.items()},
        "cpu_ratio": {name: round(cpu[name] / cpu["bags"], 2) for name in others},
        "rounds": {name: [round(speed.rate, 1) for speed in found] for name, found in speeds.items()},
        "episodes": len(dataset.episodes),
        "samples": len(dataset),
        "views": [camera.name for camera in dataset.cell.views],
        "recorded_size": [color.width, color.height],
        "image_size": arguments.image_size,
        "workers": arguments.workers,
        "batch": arguments.batch,
        "seconds": arguments.duration,
        "cores": os.cpu_count(),
        "load_average": [round(load, 1) for load in loads],
    }


def _read_copy(python: str, copy: Path, horizon: int, size: int, arguments: argparse.Namespace) -> Speed:
    """Speed of LeRobot's reader, measured in its own interpreter; with size 0 it resizes no image."""
    from vga_policy.bench.loader.measure import Speed

    command = [python, READER, copy, "--workers", arguments.workers, "--batch", arguments.batch]
    command += ["--size", size, "--horizon", horizon, "--seconds", arguments.duration]
    environment = {**_bare_environment(), "PYTHONPATH": str(HELPERS), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
    try:
        return Speed(**json.loads(finished.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = (finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"])[-1]
        if "libtorchcodec" in finished.stderr:
            said = "its video decoder finds no FFmpeg: apt-get install ffmpeg"
        raise BenchmarkError(f"{python}: LeRobot's reader cannot read {copy}: {said}") from None


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
        [f"torch=={torch_version}", "-r", str(HERE / "requirements.txt")],
        ["--no-deps", "-r", str(HERE / "requirements-no-deps.txt")],
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
