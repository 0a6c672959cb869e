"""What a step is predicted to hold: counted on tensors without contents, by the parts it is made of."""

import json
import os
import random
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from support.episodes import write_episodes
from support.training import TINY, tiny_loop
from vga_policy.cli import main
from vga_policy.objective.recipe import Recipe
from vga_policy.presets.presets import PRESETS
from vga_policy.train import plan
from vga_policy.train.plan import (
    ACTIVATIONS,
    AVERAGE,
    FROZEN,
    GATHERED,
    GRADIENTS,
    HOLES,
    MOMENTS,
    TRAINED,
    saving,
    step_memory,
)

FULL = PRESETS["tiny"]()
LOW_RANK = replace(FULL, recipe=Recipe(rank=2))


def of(preset=FULL, processes=1, **changes):
    return step_memory(preset, tiny_loop(**changes), processes)


def test_what_does_not_depend_on_the_batch_is_counted_to_the_byte():
    weights = sum(parameter.numel() for parameter in TINY.build().parameters())
    parts = of()
    heads = parts[TRAINED] - 4 * weights  # the keyframe head is the objective's
    assert 0 < heads < 0.1 * parts[TRAINED]
    assert parts[AVERAGE] == parts[TRAINED]
    assert 0 <= parts[MOMENTS] - 2 * parts[TRAINED] < 8 * 1000  # and a step count each
    assert AVERAGE not in of(ema=0.0)
    assert FROZEN not in parts


def test_frozen_weights_are_halved_by_bfloat16():
    wide, narrow = (of(LOW_RANK, precision=precision) for precision in ("fp32", "bf16"))
    assert narrow[TRAINED] == wide[TRAINED]
    assert 0.5 * wide[FROZEN] <= narrow[FROZEN] < 0.6 * wide[FROZEN]


def test_what_saves_memory_is_seen_to():
    plain = of()
    assert of(accumulate=4)[ACTIVATIONS] < 0.4 * plain[ACTIVATIONS]
    assert of(checkpoint_activations=True)[ACTIVATIONS] < 0.7 * plain[ACTIVATIONS]
    shared = of(processes=2)
    assert shared[ACTIVATIONS] < 0.6 * plain[ACTIVATIONS]
    assert shared[GRADIENTS] == shared[TRAINED]
    divided = of(processes=2, shard=True)
    for part in (TRAINED, AVERAGE, MOMENTS, GRADIENTS):
        assert divided[part] == pytest.approx(shared[part] / 2, abs=1)
    assert divided[ACTIVATIONS] == shared[ACTIVATIONS]
    assert 0 < divided[GATHERED] < shared[TRAINED] + shared[GRADIENTS]
    assert GATHERED not in of(shard=True)


def test_holes_are_left_on_a_cpu():
    loop = tiny_loop()
    parts = step_memory(FULL, loop, formula=True)
    assert 0 < parts[HOLES] < sum(parts.values()) / 2
    assert HOLES not in step_memory(FULL, loop)


def test_what_leaves_the_heap_is_filled_by_what_is_smaller():
    heap = plan._Heap()
    for key in range(3):
        heap.take(key, 1000)
    full = heap.size
    assert 3000 < full < 3500
    heap.give_back(1)
    assert heap.size == full
    heap.take(3, 800)
    assert heap.size == full
    heap.give_back(3)
    heap.take(4, 1000)  # which, aligned, a hole of its size has no room for
    assert heap.size > full + 900
    heap.take(5, 2 * heap.LARGE)
    assert heap.size > 2 * heap.LARGE
    heap.give_back(5)
    assert heap.size < heap.LARGE


def test_no_two_storages_have_one_place():
    heap, rng, living = plan._Heap(), random.Random(0), {}
    for key in range(3000):
        if rng.random() < 0.55:
            heap.take(key, rng.randrange(1, 10**5))
            living[key] = heap._places[key]
        elif living:
            gone = rng.choice(list(living))
            heap.give_back(gone)
            del living[gone]
    placed = sorted(living.values())
    assert all(start + size <= other for (start, size), (other, _) in pairwise(placed))
    assert placed[-1][0] + placed[-1][1] <= heap.size
    holes = sorted((start, start + size) for size, start in heap._holes)
    assert all(end < other for (_, end), (other, _) in pairwise(holes))


def test_a_training_takes_what_was_predicted(tmp_path):
    write_episodes(tmp_path / "data", 3, seconds=2.0, geometry=True)
    model = ("--preset", "nano", "--batch", "8")
    planned = subprocess.run(["vga", "model", "--plan", *model, "--json"], capture_output=True, check=True)
    predicted = json.loads(planned.stdout)["total"]
    options = ("--steps", "3", "--validation", "0.3", "--validation-samples", "2", "--device", "cpu", "--threads", "1")
    where = ("--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"))
    process = subprocess.Popen(["vga", "train", *model, *options, *where])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    assert predicted == pytest.approx(1024 * used.ru_maxrss, rel=0.15)


def test_options_are_advised_that_are_enough(monkeypatch):
    held = {1: 10, 2: 12, 4: 16, 8: 24}  # by the samples of a pass; half of what depends on them with checkpointing

    def counted(_, loop, processes, *, formula):
        samples = loop.batch // processes // loop.accumulate
        kept = 8 // (processes if loop.shard else 1)
        return {"all": kept + (held[samples] - 8) // (2 if loop.checkpoint_activations else 1)}

    monkeypatch.setattr(plan, "step_memory", counted)
    loop = tiny_loop(batch=16)

    def advised(limit, **changes):
        found = saving(FULL, replace(loop, **changes), 2, limit)
        return found and (found.accumulate, found.checkpoint_activations, found.shard)

    assert advised(24) == (1, False, False)
    assert advised(16) == (2, False, False)
    assert advised(10) == (8, False, False)
    assert advised(9) == (8, True, False)
    assert advised(8) == (4, False, True)
    assert advised(5) == (8, True, True)
    assert advised(4) is None
    assert advised(8, optimizer=replace(loop.optimizer, muon=1e-3)) is None
    assert advised(24, accumulate=4) == (4, False, False)


def test_the_command_tells_parts_and_advice(monkeypatch, capsys):
    monkeypatch.setattr(plan, "step_memory", lambda *_, formula: {TRAINED: 10**6, ACTIVATIONS: 10**7})
    options = ("model", "--preset", "nano", "--plan", "--batch", "8")
    assert main((*options, "--gpus", "2", "--memory", "80GB", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == sum(told["bytes"].values())
    assert (told["predicted"], told["advice"]) == (True, "it fits as it is")
    assert main((*options, "--memory", "0.001")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("predicted peak of a step on a CPU, 8 samples at a time, fp32:")
    assert "Python and libraries" in printed
    assert "0.001 GB: no option keeps a step below that" in printed
    assert main((*options, "--gpus", "3")) == 2
    assert "--batch 8: cannot be shared evenly by 3 GPUs" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "processes"), [("gpus_1", 1), ("gpus_4", 4), ("gpus_8", 8), ("machines_2", 16)])
def test_accelerate_reads_the_configurations_that_are_shipped(name, processes):
    file = Path(__file__).parents[2] / "env" / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(file))
    assert config.num_processes == processes
    assert config.distributed_type.value == ("NO" if processes == 1 else "MULTI_GPU")
