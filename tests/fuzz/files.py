"""Files of text and weights: cell file, episode.yaml, curation.yaml, checkpoints, runs and results."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import yaml

from fuzz import draw
from fuzz.entrance import Case, Seen, mutated
from fuzz.valid import CELL

IMAGE_SIZE = 28


def yaml_values(rng: Random, old: bytes) -> bytes:
    """The file with other values in it, one to three, or as a text with as many faults."""
    if rng.random() < 0.35:
        return mutated(rng, old, draw.text, draw.count(rng))
    try:
        data = mutated(rng, yaml.safe_load(old), draw.tree, draw.count(rng))
    except (ValueError, yaml.YAMLError):  # damaged already
        return draw.text(rng, old)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def json_values(rng: Random, old: bytes) -> bytes:
    if rng.random() < 0.25:
        return mutated(rng, old, draw.text, draw.count(rng))
    try:
        return json.dumps(mutated(rng, json.loads(old), draw.tree, draw.count(rng))).encode()
    except ValueError:  # damaged already
        return draw.text(rng, old)


def change(path: Path, rng: Random, mutation: Callable[[Random, bytes], bytes]) -> None:
    """Writes the file anew; hard links to it stay as they were."""
    new = mutation(rng, path.read_bytes())
    path.unlink()
    path.write_bytes(new)


# The cell file.


def damage_cell(case: Case) -> Path:
    path = case.directory / "cell.yaml"
    path.write_bytes(yaml_values(case.rng, CELL.read_bytes()))
    return path


def use_cell(case: Case, path: Path, seen: Seen) -> None:
    from vga_bringup.doctor.robot import limits
    from vga_policy.cell.loading import dump_cell, load_cell, parse_cell

    seen.vga("check", path)
    seen.vga("cell", "check", path)
    if not seen.vga("cell", "show", path, "--json"):
        cell = load_cell(path, stored=True)
        if parse_cell(dump_cell(cell)) != cell:
            seen.lost.append("the cell is another one after it was written and read")
        list(limits(cell))


# Beside a bag.


def damage_episode_yaml(case: Case) -> Path:
    return _beside(case, "episode.yaml")


def damage_curation_yaml(case: Case) -> Path:
    return _beside(case, "curation.yaml")


def _beside(case: Case, name: str) -> Path:
    root = case.directory / "episodes"
    root.mkdir()
    for source, target in (("e0", "good"), ("e1", "bad")):
        shutil.copytree(case.valid / "episodes" / source, root / target, copy_function=_link)
    if name == "curation.yaml":
        curation = {"proposed": "review", "reasons": ["slow"], "decided": "accept", "decision_reason": "seen"}
        start = 1_790_000_060 * 10**9
        curation |= {"start_ns": start, "end_ns": start + 10**9}
        (root / "bad" / name).write_text(yaml.safe_dump(curation, sort_keys=False))
    change(root / "bad" / name, case.rng, yaml_values)
    return root


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def use_episodes(case: Case, root: Path, seen: Seen) -> None:
    from vga_policy.dataset.dataset import EpisodeDataset
    from vga_policy.episodes.listing import DatasetError

    seen.vga("check", root / "bad")
    if seen.vga("curate", root, "--jobs", "1", "--json"):
        seen.lost.append("vga curate judged neither episode")
    dataset = seen.expects(DatasetError, EpisodeDataset, [root], IMAGE_SIZE, usable_only=case.rng.random() < 0.5)
    if dataset is not None:
        seen.words += map(str, dataset.skipped)
    if case.number % 4 == 0:
        seen.vga("export", "lerobot", root, case.directory / "exported", "--images", "--all")
    if case.number % 4 == 1:
        seen.vga("curate", root, "--accept", "bad", "--reason", "seen")
        seen.vga("curate", root, "--reset")


# Checkpoints.


def damage_checkpoint(case: Case) -> Path:
    """A policy's checkpoint, or weights of VGGT one time in five, with a fault in one of its files."""
    rng = case.rng
    if rng.random() < 0.2:
        path = case.copy("vggt")
        change(path / "model.safetensors", rng, weights)
        return path
    path = case.copy("run/checkpoints/0000004", "checkpoint")
    name = rng.choice(("config.json", "config.json", "normalization.json", "model.safetensors", "cell.yaml"))
    if rng.random() < 0.02:
        (path / name).unlink()
    else:
        kinds = {".json": json_values, ".safetensors": weights, ".yaml": yaml_values}
        change(path / name, rng, kinds[Path(name).suffix])
    return path


def weights(rng: Random, old: bytes) -> bytes:
    """Bytes, header or values of a safetensors file."""
    way = rng.random()
    size = int.from_bytes(old[:8], "little")
    if way < 0.3:
        return mutated(rng, old, draw.data, draw.count(rng))
    header, rest = json.loads(old[8 : 8 + size]), old[8 + size :]
    if way < 0.7:
        header = mutated(rng, header, draw.tree, draw.count(rng))
    else:
        rest = _odd_values(rng, header, bytearray(rest))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    length = draw.number(rng) if rng.random() < 0.05 else len(text).to_bytes(8, "little")
    return length + text + bytes(rest)


def _odd_values(rng: Random, header: dict, values: bytearray) -> bytearray:
    import numpy as np

    floats = np.frombuffer(values, "<f4")
    names = [name for name, about in header.items() if name != "__metadata__" and about["dtype"] == "F32"]
    odd = rng.choice((np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, 1e-45))
    for name in rng.sample(names, min(len(names), draw.count(rng))) if rng.random() < 0.7 else names:
        start, end = (offset // 4 for offset in header[name]["data_offsets"])
        if rng.random() < 0.5:
            floats[start:end] = odd
        elif end > start:
            floats[rng.randrange(start, end)] = odd
    return values


def use_checkpoint(case: Case, path: Path, seen: Seen) -> None:
    """Checked, which loads it and has it act once; given to a training and to a policy of another cell."""
    from vga_policy.cell.loading import load_cell
    from vga_policy.checkpoints.checkpoint import CheckpointError
    from vga_policy.inference.policy import Policy, PolicyError
    from vga_policy.presets.presets import PRESETS
    from vga_policy.train.runs.failure import TrainingError
    from vga_policy.train.runs.start import start_from, statistics_of

    seen.vga("check", path)
    if path.name == "checkpoint":
        if case.number % 3 == 0:
            seen.expects((CheckpointError, PolicyError), Policy.from_pretrained, path, load_cell(CELL))
        seen.expects(TrainingError, statistics_of, path)
    elif case.number % 3 == 0:
        seen.expects(TrainingError, start_from, PRESETS["nano"]().model.build(), path, load_cell(CELL))


# Runs, scenes and results.


def damage_run(case: Case) -> Path:
    rng = case.rng
    kind = rng.choice(("run", "run", "scenes", "geometry", "results"))
    if kind == "results":
        path = Path(shutil.copytree(CELL.parents[1] / "results" / "policy", case.directory / "results"))
    else:
        path = case.copy(kind)
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.is_symlink()]
    file = rng.choice([each for each in files if each.suffix in (".json", ".jsonl", ".safetensors")])
    kinds = {".json": json_values, ".jsonl": _lines, ".safetensors": weights}
    change(file, rng, kinds[file.suffix])
    return path


def _lines(rng: Random, old: bytes) -> bytes:
    lines = old.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_values(rng, lines[at]) + b"\n"
    return b"".join(lines)


def use_run(case: Case, path: Path, seen: Seen) -> None:
    from vga_policy.evaluate.results import ResultsError, load

    seen.vga("check", path)
    if path.name == "results":
        seen.expects(ResultsError, load, path)
