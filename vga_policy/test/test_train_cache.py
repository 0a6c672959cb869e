"""The cache of decoded samples: it holds what decoding gives, whoever fills it."""

import threading

import pytest
import torch
from support.episodes import write_episodes
from support.training import SIZE
from torch.utils.data import default_collate
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.train.input.cache import cached
from vga_policy.train.input.loader import DecodedDataset

from vga_policy import files


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """One with depth and camera poses, one without."""
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory / "simulated", 1, seconds=1.5, geometry=True)
    write_episodes(directory / "real", 1, seconds=1.5, instruction="press the button")
    return directory


def test_the_cache_holds_what_decoding_gives(episodes, tmp_path):
    dataset = EpisodeDataset([episodes], SIZE, geometry=True)
    decoded = DecodedDataset(dataset, default_collate)
    kept = cached(decoded, tmp_path, "samples")
    chosen = [len(dataset) - 1, 0, len(dataset) // 2]
    ours, theirs = kept.batch(chosen), decoded.batch(chosen)
    assert len(kept) == len(dataset)
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        if isinstance(values, torch.Tensor):
            assert ours[key].dtype == values.dtype, key
            torch.testing.assert_close(ours[key], values, rtol=0, atol=1e-6)
        else:
            assert list(ours[key]) == list(values)
    times = [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*.npy"))]
    assert len(cached(decoded, tmp_path, "samples")) == len(dataset)
    assert times == [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*.npy"))]


class Watched:
    """A source that calls `then` before each batch."""

    def __init__(self, source, then):
        self._source, self._then = source, then

    def __len__(self):
        return len(self._source)

    def batch(self, indices):
        self._then()
        return self._source.batch(indices)


def test_two_runs_that_fill_a_cache_at_once_both_get_it_whole(episodes, tmp_path, monkeypatch):
    decoded = DecodedDataset(EpisodeDataset([episodes], SIZE, geometry=True), default_collate)
    started, under_way, found = [], threading.Event(), []
    monkeypatch.setattr(files.LOG, "info", lambda *_: under_way.set())  # it waits

    def second():
        found.append(cached(Watched(decoded, under_way.set), tmp_path, "samples"))

    def start_second():
        if not started:
            started.append(threading.Thread(target=second))
            started[0].start()
            assert under_way.wait(60)

    found.append(cached(Watched(decoded, start_second), tmp_path, "samples"))
    started[0].join()
    everything = list(range(len(decoded)))
    for kept in found:
        torch.testing.assert_close(kept.batch(everything)["images"], decoded.batch(everything)["images"])
    assert len(found) == 2
    assert not list(tmp_path.glob("*.unfinished"))
