"""What a step and a run's directory hold, and what saves memory: the update is the same."""

import logging
import os
import stat
import weakref
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from support.cells import SIM
from support.episodes import write_episodes
from support.training import curve, tiny_loop, tiny_policy
from vga_policy.checkpoints import BEST
from vga_policy.inference.policy import Policy
from vga_policy.model.weights.save import Later, save_tensors
from vga_policy.text.pretrained import EncoderError, QwenGTE
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train import trainer
from vga_policy.train.engine import loop as loops
from vga_policy.train.engine.loop import ACCUMULATION
from vga_policy.train.objectives import PolicyObjective
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import FROZEN, LAST, Run

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 3


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """Three with depth and camera poses, one without: batches whose samples have different labels."""
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory / "simulated", 3, seconds=1.5, geometry=True)
    write_episodes(directory / "real", 1, seconds=1.5, instruction="press the button")
    return directory


@pytest.fixture(scope="module")
def finished(episodes, tmp_path_factory):
    """A run in one pass a step."""
    run = tmp_path_factory.mktemp("finished") / "run"
    trainer.train(tiny_policy(episodes, loop()), run)
    return run


@pytest.fixture(autouse=True)
def other_precision():
    """Runs may be of another precision than those before them in this process."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def loop(**changes):
    """Without clipping, which would hide a gradient of another scale."""
    short = tiny_loop(steps=STEPS, validate_every=STEPS, save_every=STEPS, **changes)
    return replace(short, optimizer=replace(short.optimizer, clip=1e9))


def gradients(run):
    """Their running means over the run's steps, each on the weights that the last one made."""
    memory = Run.open(run).last_checkpoint().optimizer
    return torch.cat([value.flatten() for name, value in sorted(memory.items()) if name.startswith("exp_avg/")])


def apart(one, other):
    """The largest difference of their gradients, relative to the largest of them."""
    ours, theirs = gradients(one), gradients(other)
    return float((ours - theirs).abs().max() / theirs.abs().max())


SAVINGS = {
    "accumulate": {"accumulate": 4},
    "activations": {"checkpoint_activations": True},
    "both": {"accumulate": 2, "checkpoint_activations": True},
}


@pytest.mark.parametrize("saving", SAVINGS)
def test_what_saves_memory_makes_the_same_update(episodes, finished, tmp_path, saving):
    trainer.train(tiny_policy(episodes, loop(**SAVINGS[saving]), geometry_share=1), tmp_path / "run")
    assert apart(tmp_path / "run", finished) < 1e-5
    for ours, theirs in zip(curve(tmp_path / "run"), curve(finished), strict=True):
        assert ours.get("validation", ours) == pytest.approx(theirs.get("validation", theirs), rel=1e-5)


def test_a_gradient_of_another_scale_would_be_noticed(episodes, finished, tmp_path, monkeypatch):
    """The control of the test above."""
    right = loops._Fit._loss

    def wrong(self, sums, labels):
        return right(self, sums, labels) / 1.001

    monkeypatch.setattr(loops._Fit, "_loss", wrong)
    trainer.train(tiny_policy(episodes, loop(accumulate=4)), tmp_path / "run")
    assert apart(tmp_path / "run", finished) > 5e-4


def test_labels_are_counted_without_a_pass_as_with_one(episodes, tmp_path, monkeypatch):
    seen = []
    forward = PolicyObjective.forward

    def watched(self, batch):
        terms = forward(self, batch)
        seen.append((self.labels(batch), {name: term.labels for name, term in terms.items()}))
        return terms

    monkeypatch.setattr(PolicyObjective, "forward", watched)
    trainer.train(tiny_policy(episodes, loop(), geometry_share=2), tmp_path / "run")
    assert len(seen) == STEPS
    for counted, known in seen:
        assert list(counted) == list(known) == ["action", "keyframe", "camera", "depth"]
        assert all(torch.equal(counted[name], known[name]) for name in known)


def test_no_gradient_is_kept_through_the_next_pass_nor_an_average_that_is_none(episodes, tmp_path, monkeypatch):
    kept = []
    forward = PolicyObjective.forward

    def watched(self, batch):
        kept.extend(parameter for parameter in self.parameters() if parameter.grad is not None)
        return forward(self, batch)

    monkeypatch.setattr(PolicyObjective, "forward", watched)
    trainer.train(tiny_policy(episodes, loop(ema=0.0)), tmp_path / "run")
    assert not kept
    assert not Run.open(tmp_path / "run").last_checkpoint().ema
    assert (tmp_path / "run" / LAST / "average.safetensors").stat().st_size < 100


@pytest.fixture(scope="module")
def low_rank(episodes, finished, tmp_path_factory):
    """A run of low-rank updates in bfloat16, and one that was made without keeping frozen weights in it."""
    AcceleratorState._reset_state(True)
    directory = tmp_path_factory.mktemp("low_rank")
    config = tiny_policy(
        episodes, loop(precision="bf16", ema=0.0, lr=0.05), init=str(finished), strategy="lora", rank=2
    )
    trainer.train(config, directory / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "round_frozen", lambda model: None)
        trainer.train(config, directory / "wide")
    return directory / "run", directory / "wide"


def test_weights_frozen_in_bfloat16_train_the_others_alike(low_rank):
    run, wide = low_rank
    trained = [line for line in curve(run) if "validation" not in line]
    assert trained == [line for line in curve(wide) if "validation" not in line]
    assert torch.equal(gradients(run), gradients(wide))


def test_frozen_weights_are_kept_once_in_the_precision_of_the_run(low_rank):
    run, wide = low_rank
    frozen, changing = load_file(run / FROZEN), load_file(run / LAST / "weights.safetensors")
    assert not frozen.keys() & changing.keys()
    assert frozen.keys() | changing.keys() == Run.open(run).last_checkpoint().weights.keys()
    name = "model.aggregator.frame_blocks.0.mlp.fc1.weight"
    assert frozen[name].dtype == torch.bfloat16
    assert frozen["model.aggregator.frame_blocks.0.norm1.weight"].dtype == torch.float32
    assert load_file(wide / FROZEN)[name].dtype == torch.float32
    assert not any("head" in name for name in frozen)
    assert all(value.dtype == torch.float32 for value in changing.values())


def test_low_rank_updates_are_merged_as_they_are_written(low_rank):
    run, _ = low_rank
    state = Run.open(run).last_checkpoint().weights
    exported = load_file(run / BEST / "model.safetensors")
    place = "aggregator.global_blocks.1.attn.qkv"
    update = [state[f"model.{place}.lora_{side}.default.weight"].float() for side in "BA"]
    assert update[0].abs().max() > 0
    base = state[f"model.{place}.base_layer.weight"].float()
    torch.testing.assert_close(exported[f"{place}.weight"], base + 2 * update[0] @ update[1])
    assert torch.equal(exported[f"{place}.bias"], state[f"model.{place}.base_layer.bias"].float())
    assert exported.keys() == Policy.from_pretrained(run / BEST).checkpoint.model.state_dict().keys()


def test_a_run_is_gone_on_with_from_anywhere_without_what_it_started_from(episodes, finished, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "data").symlink_to(episodes)
    (tmp_path / "here" / "init").symlink_to(finished)
    monkeypatch.chdir(tmp_path / "here")
    config = tiny_policy("data", loop(precision="bf16"), init="init", strategy="lora", rank=2)
    long = replace(config, loop=replace(config.loop, steps=2 * STEPS, save_every=1))
    trainer.train(long, tmp_path / "whole")
    stopping = iter([False] * 2 * STEPS + [True] * 9)
    asked = property(lambda _: next(stopping), lambda *_: None)
    monkeypatch.setattr(loops._Fit, "_asked_to_stop", asked, raising=False)
    with pytest.raises(TrainingError, match="stopped at step 3 of 6; go on with --resume"):
        trainer.train(long, tmp_path / "run")
    monkeypatch.delattr(loops._Fit, "_asked_to_stop")
    os.unlink("init")
    monkeypatch.chdir(tmp_path)
    trainer.resume(tmp_path / "run")
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")
    for file in (LAST + "/weights.safetensors", LAST + "/optimiser.safetensors", FROZEN, BEST + "/model.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_files_of_weights_are_those_of_safetensors_and_for_whom_the_umask_says(tmp_path):
    tensors = {
        "b": torch.randn(3, 4).t(),
        "a": torch.randn(5).bfloat16(),
        "é": torch.tensor(3.0),
        "half": torch.randn(2, 2).half(),
        "count": torch.arange(3),
        "": torch.zeros(0, 3),
    }
    save_tensors(tensors, tmp_path / "ours")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    before = os.umask(0o027)
    try:
        save_tensors(tensors, tmp_path / "group")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "group").stat().st_mode) == 0o640


def test_tensors_that_are_made_when_written_are_never_two(tmp_path):
    made = []

    def make():
        assert all(earlier() is None for earlier in made)
        tensor = torch.full((100,), float(len(made)))
        made.append(weakref.ref(tensor))
        return tensor

    save_tensors({f"{number}": Later(torch.Size([100]), torch.float32, make) for number in range(4)}, tmp_path / "file")
    assert [float(tensor[0]) for _, tensor in sorted(load_file(tmp_path / "file").items())] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ACCELERATE_USE_FSDP", "true", "by --shard, the model too"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "by --shard, the model too"),
        (ACCUMULATION, "4", "--accumulate 4 alone"),
    ],
)
def test_what_accelerate_would_do_in_part_is_refused(episodes, tmp_path, monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(TrainingError, match=f"^{variable}={value}: .*{said}"):
        trainer.train(tiny_policy(episodes, loop()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_divided_is_refused(episodes, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match=r"--batch 8: cannot be shared evenly by 1 processes, each in 3 parts"):
        trainer.train(tiny_policy(episodes, loop(accumulate=3)), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"--geometry-share 4: must divide the 2 samples .* has at a time"):
        trainer.train(tiny_policy(episodes, loop(accumulate=4), geometry_share=4), tmp_path / "run")
    monkeypatch.setattr(Accelerator, "distributed_type", loops.DistributedType.XLA, raising=False)
    with pytest.raises(TrainingError, match=r"^XLA: no way for processes to train here"):
        trainer.train(tiny_policy(episodes, loop()), tmp_path / "run")


def test_muon_is_refused_where_processes_have_parts_of_a_matrix(episodes, tmp_path):
    with pytest.raises(TrainingError, match=r"^--shard: Muon needs whole matrices.*--muon 0"):
        trainer.train(tiny_policy(episodes, loop(shard=True, muon=1e-3)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_processes_than_there_are_gpus_are_refused(episodes, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match=r"starts 4 processes on this machine, which has 2 usable GPUs.*--device"):
        trainer.train(tiny_policy(episodes, loop(device="auto")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_every_process_finds_is_told_by_one(monkeypatch, caplog):
    logger = logging.getLogger("vga_policy")
    monkeypatch.setattr(Accelerator, "is_main_process", False, raising=False)
    try:
        loops.make_accelerator(loop())
        logging.getLogger("vga_policy.train").warning("ranges widened")
        logging.getLogger("vga_policy.train").error("what only this one found")
    finally:
        logger.setLevel(logging.NOTSET)
    assert caplog.messages == ["what only this one found"]


def test_out_of_memory_says_what_needs_less(episodes, tmp_path, monkeypatch):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB\nmore")

    monkeypatch.setattr(PolicyObjective, "forward", full)
    with pytest.raises(
        TrainingError, match=r"out of memory at step 1 \(CUDA out.*GiB\).*--accumulate 4.*OTHER"
    ) as told:
        trainer.train(tiny_policy(episodes, loop(accumulate=2)), tmp_path / "run")
    assert "--checkpoint-activations" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("part", ["build_model", "Ema"])
def test_a_model_that_does_not_fit_is_told_before_a_step(episodes, tmp_path, monkeypatch, part):
    def full(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(trainer if part == "build_model" else loops, part, full)
    with pytest.raises(TrainingError, match=r"^out of memory before the first step .*--updates lora"):
        trainer.train(tiny_policy(episodes, loop()), tmp_path / "run")


def test_a_validation_ends_when_its_time_is_over(episodes, tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(loops.time, "monotonic", lambda: next(clock))
    measured = []
    measure = PolicyObjective.measure

    def counted(self, batch):
        measured.append(len(batch.images))
        return measure(self, batch)

    monkeypatch.setattr(PolicyObjective, "measure", counted)
    trainer.train(tiny_policy(episodes, tiny_loop(steps=1, batch=2, validation_seconds=5.0)), tmp_path / "run")
    assert measured == [2, 2]


def test_what_cannot_be_is_said_before_anything_is_built(episodes, finished, tmp_path, monkeypatch):
    def build(*_, **__):
        pytest.fail("a model was built")

    monkeypatch.setitem(TEXT_ENCODERS, "qwen_gte", lambda: QwenGTE(weights=str(tmp_path / "none")))
    monkeypatch.setattr(trainer, "build_model", build)
    with pytest.raises(TrainingError, match="is not empty"):
        trainer.train(tiny_policy(episodes, loop()), finished)
    with pytest.raises(TrainingError, match=r"cannot be loaded: .* --text-encoder"):
        trainer.train(tiny_policy(episodes, loop(), text_encoder="qwen_gte"), tmp_path / "run")


def test_a_policy_needs_no_text_encoder_for_what_it_was_trained_on(finished, monkeypatch):
    stored = Policy.from_pretrained(finished / BEST, cell=SIM)
    assert set(stored.checkpoint.embeddings) == {"", "pick up the red cube", "press the button"}
    told = stored.encode("press the button")
    monkeypatch.setattr(type(stored.checkpoint.encoder), "encode", lambda *_: pytest.fail("the encoder was asked"))
    again = Policy.from_pretrained(finished / BEST, cell=SIM)
    assert torch.equal(again.encode("press the button"), told)


def test_an_instruction_that_is_new_needs_the_encoder_and_says_so(finished, monkeypatch):
    policy = Policy.from_pretrained(finished / BEST, cell=SIM)

    def missing(*_):
        raise EncoderError("text encoder large: it is not here")

    monkeypatch.setattr(type(policy.checkpoint.encoder), "encode", missing)
    trained = "'pick up the red cube', 'press the button'"
    with pytest.raises(
        EncoderError, match=rf"^'stack' is none of those trained on \({trained}\), and text encoder large"
    ):
        policy.encode("stack")
