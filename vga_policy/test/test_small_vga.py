"""The small model's wiring: which input reaches the chunk, and that it can learn."""

import pytest
import torch
from vga_policy.model.small_vga import ACTION, SmallVGAConfig

TINY = SmallVGAConfig(image_size=32, width=32, layers=2, heads=2, language_width=16, horizon=8)


@pytest.fixture(autouse=True)
def one_thread():
    """These models are too small to share; threads that wait for each other on a busy machine take minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(config=TINY, seed=0):
    torch.manual_seed(seed)
    return config.build().eval()


def inputs(batch=3, views=2, config=TINY, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(batch, views, 3, config.image_size, config.image_size, generator=generator),
        torch.randn(batch, config.language_width, generator=generator),
        2 * torch.rand(batch, 8, generator=generator) - 1,
    ]


@pytest.mark.parametrize("views", [1, 2, 3])
def test_any_number_of_views_gives_one_chunk(views):
    chunk = build()(*inputs(views=views))
    assert chunk.shape == (3, 8, ACTION)
    assert chunk.isfinite().all()


def test_every_input_reaches_every_step():
    model, given = build(), [tensor.requires_grad_() for tensor in inputs(batch=1)]
    for step in model(*given)[0]:
        for gradient in torch.autograd.grad(step.sum(), given, retain_graph=True):
            assert gradient.abs().sum() > 0


def test_the_first_view_is_special_and_the_others_are_alike():
    model, (images, language, proprioception) = build(), inputs(views=3)
    chunk = model(images, language, proprioception)
    swapped_others = model(images[:, [0, 2, 1]], language, proprioception)
    swapped_first = model(images[:, [1, 0, 2]], language, proprioception)
    torch.testing.assert_close(chunk, swapped_others)
    assert (chunk - swapped_first).abs().max() > 1e-4


def test_items_of_a_batch_do_not_mix():
    model, given = build(), inputs()
    torch.testing.assert_close(model(*given)[1:2], model(*[tensor[1:2] for tensor in given]))


def test_frame_attention_stays_within_a_view():
    model, (images, _, _) = build(), inputs(batch=1)
    other = images.clone()
    other[:, 1] = torch.rand_like(other[:, 1])
    first, second = (model.frame_blocks[0](model.embed_views(each)) for each in (images, other))
    torch.testing.assert_close(first[0], second[0])
    assert (first[1] - second[1]).abs().max() > 1e-4


def test_the_skip_path_starts_silent():
    plain = build()
    skipping = build(SmallVGAConfig(**{**vars(TINY), "proprioception_skip": 16}))
    skipping.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(plain(*inputs()), skipping(*inputs()))


def test_it_learns_chunks_by_heart():
    model, given = build().train(), inputs(batch=4)
    target = torch.rand(4, 8, ACTION, generator=torch.Generator().manual_seed(2)) - 0.5
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        loss = (model(*given) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "image_size: must be a multiple of 16"),
        ({"width": 33}, "width: must be a multiple of heads = 2"),
        ({"layers": 0}, "layers: must be an integer of at least 1"),
        ({"horizon": 2.5}, "horizon: must be an integer"),
    ],
)
def test_an_impossible_shape_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SmallVGAConfig(**{**vars(TINY), **change})
