"""Starting from public weights, the fast model, text encoders and the commands."""

import copy
import json
import re
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.graphs import stand_in
from support.models import TINY_VGA, TINY_VGGT, seeded_inputs, seeded_state, seeded_tensor
from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2Model, Qwen2Tokenizer
from vga_policy.bench.latency import latency
from vga_policy.cli import main
from vga_policy.inference.compile import (
    COMPILED,
    RecordingError,
    as_one_call,
    check_recording,
    for_inference,
    fuse,
    keep_compiled,
    record,
    trace,
)
from vga_policy.model import InputError, WeightsError, load_vggt
from vga_policy.model.backbone.dino_siglip import DINOV2_LARGE, SIGLIP_SO400M, DinoSiglipConfig, TimmVit
from vga_policy.model.plot import draw_geometry, read_images
from vga_policy.model.weights.initialize import initialize_from_timm, initialize_from_vggt
from vga_policy.names import ABLATION_NAMES, PRESET_NAMES
from vga_policy.objective.lora import make_trainable
from vga_policy.objective.recipe import Recipe
from vga_policy.observation.observation import PROPRIOCEPTION
from vga_policy.presets.presets import ABLATIONS, PRESETS
from vga_policy.text.pretrained import EncoderError, MiniLM, QwenGTE, release


@pytest.fixture(scope="module")
def vggt(tmp_path_factory):
    with torch.device("meta"):
        state = seeded_state(TINY_VGGT.build())
    directory = tmp_path_factory.mktemp("vggt")
    save_file({**state, "point_head.norm.weight": torch.ones(2)}, directory / "model.safetensors")
    return directory


def policy_on(vggt_config, **changes):
    config = replace(
        TINY_VGA,
        backbone=vggt_config.aggregator,
        camera_head=vggt_config.camera_head,
        depth_head=vggt_config.depth_head,
    )
    return replace(config, **changes)


def test_a_policy_starts_as_the_vggt_it_is_built_on(vggt):
    model = policy_on(TINY_VGGT, film=False).build().eval()
    initialize_from_vggt(model, vggt)
    public = load_vggt(vggt)
    for name, tensor in public.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_what_the_policy_does_not_have_is_skipped_by_name(vggt):
    shallow = replace(TINY_VGGT.aggregator, depth=3)
    vision = DinoSiglipConfig(dino=tiny_vit(DINOV2_LARGE), siglip=tiny_vit(SIGLIP_SO400M), projector=(8,))
    other = replace(shallow, vision=vision)
    for backbone in (shallow, other):
        model = policy_on(TINY_VGGT, backbone=backbone, camera_head=None, depth_head=None).build()
        initialize_from_vggt(model, vggt)
        name = "aggregator.global_blocks.2.attn.qkv.weight"
        assert torch.equal(model.state_dict()[name], seeded_tensor(name, (384, 128)))


def test_a_vggt_that_does_not_fit_is_refused(vggt):
    model = replace(TINY_VGA, camera_head=None).build()
    with pytest.raises(WeightsError, match=r"aggregator.camera_token has shape \[1, 2, 1, 128\], expected"):
        initialize_from_vggt(model, vggt)


def tiny_vit(config):
    return replace(config, width=16, depth=3, heads=2, hidden=32, grid=3)


@pytest.mark.parametrize("config", [DINOV2_LARGE, SIGLIP_SO400M])
def test_timm_weights_made_for_another_image_size_are_resized(config, tmp_path):
    small = TimmVit(tiny_vit(config))
    large = TimmVit(replace(tiny_vit(config), grid=6))
    save_file(seeded_state(large), tmp_path / "model.safetensors")
    initialize_from_timm(small, tmp_path)
    assert small.pos_embed.shape == (1, 9, 16)
    assert torch.equal(small.norm.weight, seeded_tensor("norm.weight", (16,)))
    save_file({"pos_embed": torch.zeros(1, 36, 16)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"do not fit the model: missing \w+.* and \d+ more"):
        initialize_from_timm(small, tmp_path)


def test_the_fast_model_acts_the_same_and_leaves_the_original_alone():
    model = TINY_VGA.build().eval()
    make_trainable(model, Recipe(rank=2))
    model.load_state_dict(seeded_state(model))
    model.aggregator.patch_embed.fix_grid(5)  # of another size than the images, so that resizing it counts
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = for_inference(model)
    torch.testing.assert_close(fast(*seeded_inputs()), model(*seeded_inputs()), rtol=1e-4, atol=1e-5)
    assert fast.camera_head is None
    assert fast.depth_head is None
    assert fast.aggregator.patch_embed.grid == 3
    assert not [name for name in fast.state_dict() if "lora" in name or "gamma" in name]
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert model.state_dict().keys() == before.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


class Called(TorchDispatchMode):
    """The names of torch's operations that are called while it is entered."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_what_no_input_changes_is_computed_once_and_is_the_same_to_the_bit():
    model = TINY_VGA.build().eval()
    model.load_state_dict(seeded_state(model))
    fixed = copy.deepcopy(model)
    fixed.action_head.fix_start(fixed.chunk_embeddings)
    fixed.fix_positions(views=2)
    with torch.inference_mode():
        for views in (2, 3):  # 3: not what it was fixed for
            assert torch.equal(fixed(*seeded_inputs(views=views)), model(*seeded_inputs(views=views)))
        with Called() as called:
            fixed(*seeded_inputs(views=2))
        with Called() as called_before:
            model(*seeded_inputs(views=2))
    assert called_before.names - called.names >= {"cos", "sin", "arange", "pow", "relu"}
    assert {parameter.dtype for parameter in (fixed.aggregator.cos, fixed.aggregator.sin)} == {torch.float32}


def test_a_model_in_bfloat16_answers_in_float32(monkeypatch):
    monkeypatch.setattr("vga_policy.inference.compile.inference_dtype", lambda device: torch.bfloat16)
    model = TINY_VGA.build().eval()
    model.load_state_dict(seeded_state(model))
    fast = for_inference(model)
    assert fast.action_queries.dtype == torch.bfloat16
    chunk = fast(*seeded_inputs())
    assert chunk.dtype == torch.float32
    torch.testing.assert_close(chunk, model(*seeded_inputs()), rtol=0, atol=0.1)


def test_the_fast_model_is_one_graph_to_the_compiler():
    """On a GPU it is compiled and recorded: a break in the graph, or a wait for the GPU, would make that impossible."""
    fast = for_inference(TINY_VGA.build())
    traced = torch.compile(fast, backend="eager", fullgraph=True, dynamic=False)
    with torch.inference_mode():
        assert torch.equal(traced(*seeded_inputs()), fast(*seeded_inputs()))


@pytest.mark.parametrize("config", [TINY_VGA, replace(PRESETS["nano"]().model, camera_head=None, depth_head=None)])
def test_the_traced_model_acts_the_same_on_inputs_it_was_not_traced_with(config, recwarn):
    def inputs(seed):
        random = torch.Generator().manual_seed(seed)
        shapes = (1, 2, 3, config.image_size, config.image_size), (1, config.language_width), (1, PROPRIOCEPTION)
        return tuple(torch.rand(shape, generator=random) for shape in shapes)

    fast = for_inference(config.build())
    traced = trace(fast, inputs(0))
    with torch.inference_mode():
        assert torch.equal(traced(*inputs(1)), fast(*inputs(1)))
        assert not torch.equal(traced(*inputs(1)), traced(*inputs(0)))
    assert not recwarn.list


def test_where_nothing_can_be_compiled_the_model_runs_as_it_is(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no compiler here\nlong story")

    monkeypatch.setattr("torch.compile", lambda *_, **__: broken)
    model = TINY_VGA.build()
    assert fuse(model, seeded_inputs()) is model
    assert "slower: no compiler here" in caplog.text
    assert "long story" not in caplog.text


def test_what_is_compiled_is_kept_in_the_users_cache(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = tmp_path / "vga" / f"compiled-torch-{torch.__version__}"
    for before in (None, default_cache_dir()):
        monkeypatch.delenv(COMPILED, raising=False)
        if before:
            monkeypatch.setenv(COMPILED, before)
        keep_compiled()
        assert cache_dir() == str(ours)  # where torch keeps it
    monkeypatch.setenv(COMPILED, str(tmp_path / "mine"))
    keep_compiled()
    assert cache_dir() == str(tmp_path / "mine")
    monkeypatch.delenv(COMPILED)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compiled()
    assert "compiled kernels may have to be made again at the next start: " in caplog.text
    assert cache_dir() == default_cache_dir()


def test_minilm_tells_instructions_apart_and_paraphrases_together():
    encode = MiniLM().encode
    cube, paraphrase, door = map(encode, ("pick up the red cube", "grasp the red block", "close the cabinet door"))
    assert cube.shape == (384,)
    assert cube.dtype == np.float32
    assert np.linalg.norm(cube) == pytest.approx(1.0, abs=1e-5)
    assert cube @ paraphrase > cube @ door + 0.1
    assert encode("pick up the red cube") is cube


@pytest.fixture
def qwen(tmp_path):
    """A Qwen2 of 26 letters, a space and the end of text."""
    letters = [*"abcdefghijklmnopqrstuvwxyz", "Ġ", "<|endoftext|>"]
    Qwen2Tokenizer(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    model = Qwen2Model(config).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model


def test_qwen_gte_pools_the_appended_end_of_text(qwen):
    directory, model = qwen
    embedding = QwenGTE(weights=str(directory), width=16).encode("go up")
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([[6, 14, 26, 20, 15, 27]])).last_hidden_state[0, 5]
    np.testing.assert_allclose(embedding, hidden / hidden.norm(), rtol=1e-4, atol=1e-5)


def test_qwen_gte_is_causal_whatever_its_config_says(qwen):
    """Its own code is; the public config.json says `"is_causal": false`, which an ordinary Qwen2 obeys."""
    directory, _ = qwen
    before = QwenGTE(weights=str(directory), width=16).embed("go up")
    config = directory / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "is_causal": False}))
    release()
    torch.testing.assert_close(QwenGTE(weights=str(directory), width=16).embed("go up"), before)


def test_text_encoders_without_weights_say_so(tmp_path, qwen):
    with pytest.raises(EncoderError, match=r"cannot be loaded: neither .* `hf download some/where` fetches it"):
        QwenGTE(weights="some/where").encode("pick up the cube")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        QwenGTE(weights=str(tmp_path / "empty")).encode("pick up the cube")
    with pytest.raises(EncoderError, match=r"\[16\] numbers instead of 1536"):
        QwenGTE(weights=str(qwen[0])).encode("pick up the cube")


def test_the_commands_offer_what_there_is():
    assert tuple(name for name in PRESETS if name != "tiny") == PRESET_NAMES  # tiny: support.training's
    assert tuple(ABLATIONS) == ABLATION_NAMES


def test_vga_model_reproduces_table_5(capsys):
    assert main(["model", "--preset", "paper", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["rows"]}
    for name, (parameters, trainable) in {
        "Vision encoder": (730.9, 0.0),
        "Language encoder": (1543.3, 0.0),
        "Proprio encoder": (1.1, 1.1),
        "Vision projector": (27.6, 27.6),
        "Language projector": (2.2, 2.2),
        "Depth head": (32.7, 32.7),
        "Action head": (285.6, 285.6),
    }.items():
        assert rows[name]["parameters"] / 1e6 == pytest.approx(parameters, abs=0.1)
        assert rows[name]["trainable"] / 1e6 == pytest.approx(trainable, abs=0.1)
    variants = {name: round(count / 1e6, 1) for name, count in report["variants"].items()}
    assert variants["Action head, 7-D actions"] == 284.5
    assert variants["Vision encoder, dinov2"] == 304.4
    backbone = rows["Transformer backbone"]
    for key in ("parameters", "trainable"):
        assert sum(part[key] for part in report["backbone"]) == backbone[key]
        assert sum(row[key] for row in report["rows"]) == report["total"][key]


def test_vga_model_lists_what_trains(capsys):
    assert main(["model", "--preset", "nano", "--ablation", "zeroinit-lora", "--rank", "4", "--tensors"]) == 0
    printed = capsys.readouterr().out
    assert "trains aggregator.global_blocks.3.attn.proj.lora_B.default.weight (768)" in printed
    assert "trains aggregator.frame_blocks.0.attn.qkv.base_layer.weight" not in printed


def test_vga_bench_latency_reports_percentiles(capsys):
    assert main(["bench", "latency", "--preset", "nano", "--device", "cpu", "--repeats", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["modes"]) == {"eager", "traced"}
    for times in report["modes"].values():
        assert times["total_ms"]["p50"] >= times["inference_ms"]["p50"] > 0
        assert times["model_ms"]["p50"] > 0
    assert report["not_measured"] == []
    assert main(["bench", "latency", "--device", "cpu", "--repeats", "2"]) == 0
    told = capsys.readouterr().out
    assert "eager preprocessing" in told
    assert "the robot's policy node runs traced: a whole pass as one call; eager is one operation at a time" in told


def test_a_gpu_that_is_not_there_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (["bench", "latency"], ["eval", "geometry", "--checkpoint", "nano", "--data", "nowhere"]):
        assert main([*command, "--device", "cuda:1"]) == 1
    *_, of_latency = capsys.readouterr().err.splitlines()[:1]
    assert of_latency == "vga bench latency: --device cuda:1: this torch sees no GPU; give cpu, or auto"


def test_vga_geometry_draws_a_picture(vggt, tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = [tmp_path / f"{name}.png" for name in "ab"]
    for path in images:
        cv2.imwrite(str(path), rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    out = tmp_path / "geometry.png"
    command = ["geometry", *map(str, images), "--weights", str(vggt), "--out", str(out), "--width", "70"]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert cv2.imread(str(out)).shape == (56 + 56 + 44, 2 * 70, 3)


def test_the_picture_shows_near_bright():
    class Ramp:
        def geometry(self, images):
            depth = torch.linspace(1, 2, 28).expand(1, 1, 28, 28)[..., None]
            return {"pose_enc": torch.tensor([[[0, 0, 0, 0, 0, 0, 1.0, 1.0, 1.0]]]), "depth": depth}

    picture = draw_geometry(Ramp(), torch.zeros(1, 1, 3, 28, 28))
    assert picture[40, 2].sum() > picture[40, 25].sum()


def test_vga_geometry_says_what_is_wrong(vggt, tmp_path, capsys):
    assert main(["geometry", "nowhere.png", "--weights", str(vggt)]) == 1
    assert "nowhere.png: cannot be read as an image" in capsys.readouterr().err
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((28, 28, 3), np.uint8))
    assert main(["geometry", str(image), "--weights", str(tmp_path)]) == 1
    assert "holds none of" in capsys.readouterr().err
    assert main(["geometry", str(image), "--checkpoint", "nano"]) == 1  # as --weights was called
    note, complaint = capsys.readouterr().err.splitlines()
    assert note == "--checkpoint is now --weights"
    assert complaint == "vga geometry: nano: a policy of this repository: vga eval geometry --checkpoint nano"
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "geometry.json").write_text("{}")
    assert main(["geometry", str(image), "--weights", str(tmp_path)]) == 1
    assert f"made by vga pretrain, a start for policies: vga train --init {tmp_path}" in capsys.readouterr().err
    with pytest.raises(InputError, match="cannot be read"):
        read_images([tmp_path / "missing.png"], 28)


def test_the_model_package_needs_no_ros():
    blocked = "import sys; sys.modules['rclpy'] = None; import vga_policy.model, vga_policy.inference.commands"
    subprocess.run([sys.executable, "-c", blocked], check=True, timeout=120)


def test_a_recording_is_trusted_when_it_answers_what_it_was_not_made_of():
    model = TINY_VGA.build().eval()
    inputs = seeded_inputs()
    with torch.inference_mode():
        chunk = model(*inputs)
    check_recording(model, model, inputs)
    with pytest.raises(RecordingError, match="on cpu gives the same chunk for other inputs"):
        check_recording(lambda *_: chunk, model, inputs)
    with pytest.raises(RecordingError, match=r"on cpu is 0\.2 off the model, limit 0\.1"):
        check_recording(lambda *others: model(*others) + 0.2, model, inputs)
    with pytest.raises(RecordingError, match="is nan off"):
        check_recording(lambda *others: model(*others) * torch.nan, model, inputs)


def test_what_is_called_as_one_was_checked(monkeypatch):
    monkeypatch.setattr("vga_policy.inference.compile.trace", lambda model, inputs: lambda *_: torch.zeros(1, 8, 8))
    with pytest.raises(RecordingError):
        as_one_call(TINY_VGA.build().eval(), seeded_inputs())


def test_a_gpu_that_is_not_the_first_records_and_replays_on_itself(monkeypatch):
    """Without one: torch's calls are replaced by ones that note which device was the current one."""
    current, noted = ["the first"], []

    @contextmanager
    def device(which):
        current.append(which)
        yield
        current.pop()

    def note(what):
        noted.append((what, current[-1]))
        return SimpleNamespace(wait_stream=lambda _: None, replay=lambda: note("replay"))

    fake = {
        "device": device,
        "Stream": lambda: note("stream"),
        "current_stream": lambda: note("current stream"),
        "stream": lambda _: nullcontext(),
        "CUDAGraph": lambda: note("graph"),
        "graph": lambda _: nullcontext(note("capture")),
    }
    for name, call in fake.items():
        monkeypatch.setattr(torch.cuda, name, call)
    monkeypatch.setattr("vga_policy.inference.compile.fuse", lambda model, _: model)
    inputs = seeded_inputs()
    replay = record(TINY_VGA.build().eval(), inputs)
    with torch.inference_mode():
        replay(*inputs)
    assert {what for what, _ in noted} == {"stream", "current stream", "graph", "capture", "replay"}
    assert {where for _, where in noted} == {inputs[0].device}


def test_a_model_too_large_to_compile_is_not_run_as_it_is(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("torch.compile", lambda *_, **__: full)
    with pytest.raises(torch.OutOfMemoryError):
        fuse(TINY_VGA.build(), seeded_inputs())


def test_what_a_time_limit_does_not_reach_is_not_measured(capsys):
    options = ("--device", "cpu", "--repeats", "1", "--time-limit", "0.001")
    assert main(("bench", "latency", "--preset", "nano", *options, "--json")) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["modes"] == {"eager": None, "traced": None}
    assert report["not_measured"] == ["eager", "traced"]
    assert "traced: not measured, the time is over" in printed.err
    assert main(("bench", "latency", "--preset", "nano", *options)) == 0
    assert "traced total              not measured" in capsys.readouterr().out


def test_on_a_gpu_it_is_measured_with_and_without_compilation(monkeypatch):
    """Without one: what records is a stand-in, and the compiler is not called."""
    graphs, _ = stand_in(monkeypatch)
    fused = []
    monkeypatch.setattr("vga_policy.inference.running.fuse", lambda network, _: fused.append(network) or network)
    monkeypatch.setattr("vga_policy.bench.latency._is_gpu", lambda device: True)
    monkeypatch.setattr("vga_policy.bench.latency.as_one_call", record)
    monkeypatch.setattr("vga_policy.bench.latency._name", lambda device: "no GPU")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    report = latency("nano", device="cpu", repeats=2)
    assert list(report["modes"]) == ["eager", "recorded", "compiled"]
    assert [times["passes"] for times in report["modes"].values()] == [2, 2, 2]
    assert len(fused) == 1
    assert len(graphs) == 4  # the whole and the network alone, of each recorded one


def test_latency_is_measured_for_a_limited_time_and_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr("vga_policy.bench.latency.WARM_UP", 1)
    options = ("--device", "cpu", "--repeats", "100000", "--duration", "0.2", "--json")
    assert main(("bench", "latency", "--preset", "nano", *options)) == 0
    printed = capsys.readouterr()
    passes = [mode["passes"] for mode in json.loads(printed.out)["modes"].values()]
    assert len(passes) == 2
    assert all(1 <= count < 1000 for count in passes)
    assert re.search(r"^traced: \d+ of 100000 passes in 0 s$", printed.err, re.MULTILINE)
