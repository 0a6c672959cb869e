"""What a policy computes for a chunk, as one function: the same on a CPU, on a GPU and in every way of running it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from support.cells import SIM
from support.graphs import Graph, Operations, stand_in
from support.models import TINY_VGA, seeded_state
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.inference.area import Area
from vga_policy.inference.compile import RecordingError, for_inference
from vga_policy.inference.function import ChunkFunction
from vga_policy.inference.packing import PackedFunction, Packing
from vga_policy.inference.preprocess import resize_views, square
from vga_policy.inference.running import Recorded, Shape, Stepwise, Traced
from vga_policy.libero.embodiment import LIBERO


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [224, 112, 42])
@pytest.mark.parametrize(
    ("height", "width"),
    [(480, 640), (240, 320), (720, 1280), (1080, 1920), (256, 256), (424, 240), (448, 448), (336, 672), (301, 500)],
)
def test_torch_resizes_an_image_to_the_bytes_that_opencv_makes(height, width, size):
    image = noise(height, width)
    edge = image // 255 * 255  # black and white
    ramp = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], image.shape).copy()
    for picture in (image, edge, ramp):
        made = Area(height, width, size)(torch.from_numpy(picture)).numpy()
        np.testing.assert_array_equal(made, square(picture, size))


def test_torch_enlarges_no_image():
    with pytest.raises(ValueError, match="images of 300 x 200 would be enlarged to 224 x 224"):
        Area(200, 300, 224)


def test_a_resampling_of_another_kind_is_told_from_opencvs():
    image = noise(480, 640)
    other = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert (Area(480, 640, 224)(torch.from_numpy(image)).numpy() != other).mean() > 0.9


# The function


def functions(embodiment=SIM.embodiment, *, relative=True, network=None):
    """The function of a small model, or another network, with ranges of which one has no width."""
    rng = np.random.default_rng(3)

    def ranges(*shape):
        low, width = rng.normal(size=shape), rng.uniform(0.1, 1.0, shape)
        width[..., 1] = 0.0
        return Range.of(low, low + width)

    actions, felt = len(embodiment.actions), len(embodiment.proprioception)
    shallow = replace(TINY_VGA.backbone, depth=2)
    config = replace(TINY_VGA, backbone=shallow, horizon=embodiment.horizon, actions=actions, proprioception=felt)
    model = config.build()
    model.load_state_dict(seeded_state(model))
    normalization = Normalization(ranges(embodiment.horizon, actions), ranges(felt), relative)
    shape = Shape(2, config.image_size, config.language_width, felt)
    return ChunkFunction(network or for_inference(model), normalization, embodiment), shape


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("embodiment", [SIM.embodiment, LIBERO], ids=["robot", "libero"])
def test_it_computes_what_normalization_and_space_say_to_the_last_bit(embodiment, relative):
    rng = np.random.default_rng(0)
    answer = rng.normal(scale=2.0, size=(embodiment.horizon, len(embodiment.actions))).astype(np.float32)
    given = []

    def network(*inputs):
        given.append(inputs)
        return torch.from_numpy(answer)[None]

    function, shape = functions(embodiment, relative=relative, network=network)
    views, language, felt = shape.made_up(0)
    meant, commanded = Stepwise(function, shape, torch.device("cpu"))(views, language, felt)
    normalization = function.normalization
    chunk = normalization.chunk(answer.astype(np.float64), origin=embodiment.origin(felt))
    np.testing.assert_array_equal(meant, chunk)
    np.testing.assert_array_equal(commanded, embodiment.actions.command(chunk))
    images, told, normalized = given[0]
    seen = resize_views(views, shape.size).astype(np.float32) / np.float32(255)
    as_trained = normalization.proprioception.normalize(felt).astype(np.float32)
    np.testing.assert_array_equal(images[0].numpy(), seen)
    assert torch.equal(told, language)
    np.testing.assert_array_equal(normalized[0].numpy(), as_trained)


def test_the_ways_of_running_it_give_the_same_to_the_last_bit(monkeypatch):
    """The recording is a stand-in's: images as cameras give them go in, of other sizes and smaller ones too."""
    graphs, devices = stand_in(monkeypatch)
    monkeypatch.setattr("vga_policy.inference.running.fuse", lambda network, _: network)
    function, shape = functions()
    device = torch.device("cpu")
    ways = [Stepwise(function, shape, device), Traced(function, shape, device), Recorded(function, shape, device)]
    large, square_ones, small = ((60, 80), (90, 120)), ((42, 42), (42, 42)), ((30, 99), (44, 43))
    for seed, sizes in enumerate((large, square_ones, large, small)):
        images, language, felt = shape.made_up(seed, sizes)
        flipped = [image[::-1, ::-1] for image in images]
        one, *others = (way(way.prepare(flipped), language, felt) for way in ways)
        for other in others:
            np.testing.assert_array_equal(one, other)
    assert [graph.replays for graph in graphs] == [4, 3, 3]  # two to compare it, then one a chunk
    assert set(devices) == {device}


def test_a_recording_for_other_inputs_alone_is_refused(monkeypatch):
    graphs, _ = stand_in(monkeypatch)
    function, shape = functions()

    def stuck(graph):
        graph.replays += 1

    monkeypatch.setattr(Graph, "replay", stuck)
    recorded = Recorded(function, shape, torch.device("cpu"), fused=False)
    with pytest.raises(RecordingError, match="the recording of the model on cpu gives the same chunk for other inputs"):
        recorded(*shape.made_up(0))
    assert len(graphs) == 1


# Capturable: on a GPU it is compiled and recorded, where a break or a wait for the GPU is impossible.

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "item"}
"""Operations whose result the host must see before it can go on."""


def packed(sizes=((60, 80), (90, 120)), network=None):
    function, shape = functions(network=network)
    packing = Packing(shape.proprioception, shape.language, sizes)
    inputs = packing.empty(pinned=False)
    packing.fill(inputs, *shape.made_up(5, sizes))
    return PackedFunction(function, packing, shape.size), inputs


def test_from_pixels_to_targets_it_is_one_graph_to_the_compiler():
    whole, inputs = packed()
    graphs = []

    def counted(graph, example):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example)

    with torch.inference_mode():
        compiled = torch.compile(whole, backend=counted, fullgraph=True, dynamic=False)
        assert torch.equal(compiled(inputs), whole(inputs))
    assert len(graphs) == 1


def test_it_is_exported_whole():
    whole, inputs = packed()
    with torch.no_grad():
        exported = torch.export.export(whole, (inputs,)).module()
        assert torch.equal(exported(inputs), whole(inputs))
        other = inputs.flip(0)
        other[: 8 * 8] = inputs[: 8 * 8]  # joints stay numbers
        assert torch.equal(exported(other), whole(other))


def test_it_waits_for_no_value_and_leaves_its_device_at_no_point():
    whole, inputs = packed()
    with torch.inference_mode(), Operations() as operations:
        whole(inputs)
    assert not operations.names & WAITS
    # On the meta device a value is not there, and a copy to another is impossible.
    assert whole.to("meta")(inputs.to("meta")).device.type == "meta"


@pytest.mark.parametrize(
    "unfit",
    [
        lambda chunk: chunk if chunk.sum() > 0 else -chunk,
        lambda chunk: chunk * chunk.max().item(),
        lambda chunk: chunk[chunk > 0].mean() + chunk,
        lambda chunk: (chunk.cpu() + torch.zeros(8, 8)).to(chunk.device),
    ],
    ids=["if", "item", "mask", "cpu"],
)
def test_a_network_that_waits_or_leaves_is_found(unfit):
    """The control of the test above."""
    whole, inputs = packed(network=lambda images, *_: unfit(images.mean() * torch.ones(1, 8, 8, device=images.device)))
    assert whole(inputs).shape == (2, 8, 8)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        whole.to("meta")(inputs.to("meta"))
