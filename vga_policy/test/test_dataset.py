"""Samples from bags: what is in them, which episodes give them, and what is said of the others."""

import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
import torch
import yaml
from support.cells import SIM
from support.episodes import CLOSED, OPEN, START, MadeEpisode, write_episodes
from torch.utils.data import DataLoader, DistributedSampler
from vga_policy.bags.reader import Bag
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.origins import Origin
from vga_policy.dataset.statistics import normalization
from vga_policy.episodes.decisions import Curation, Verdict, decide
from vga_policy.episodes.listing import DatasetError
from vga_policy.episodes.metadata import load_episode
from vga_policy.inference.preprocess import resize_views

SIZE = 56
MS = 1_000_000


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three good episodes of 3 s."""
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory, 3)
    return directory


@pytest.fixture
def copies(recorded, tmp_path):
    """The same, to be spoilt."""
    shutil.copytree(recorded, tmp_path / "episodes")
    return tmp_path / "episodes"


def dataset(directory, **options):
    return EpisodeDataset([directory], SIZE, **options)


def reasons(data):
    return {skipped.path.name: skipped.reason for skipped in data.skipped}


def test_a_sample(recorded):
    data = dataset(recorded)
    episode = MadeEpisode()
    sample = data[3]
    t_obs = sample["stamp_ns"]
    assert sample["images"].shape == (2, 3, SIZE, SIZE)
    assert sample["images"].dtype == torch.uint8
    time = (t_obs - START) / 1e9
    # Interpolated between samples 10 ms apart of a smooth motion.
    assert np.allclose(sample["proprioception"][:7], episode.measured(time), atol=1e-4)
    assert sample["proprioception"][7] == pytest.approx(OPEN)
    for step, action in enumerate(sample["actions"]):
        assert np.allclose(action[:7], episode.reference(time + 0.1 * (step + 1)), atol=1e-4)
        assert action[7] == pytest.approx(episode.width(time + 0.1 * (step + 1)))
    assert sample["action_mask"].all()
    assert sample["instruction"] == "pick up the red cube"
    assert sample["episode"] == 0
    assert set(sample) == {
        *("images", "proprioception", "actions", "action_mask", "keyframe", "instruction", "stamp_ns", "episode"),
    }


def test_images_are_the_ones_taken_at_t_obs_in_slot_order(recorded):
    data = dataset(recorded, skip_idle=False)
    with Bag(data.episodes[0].path) as bag:
        for row in (0, 7, 20):
            pixels = []
            for view, stamp in zip(("fixed_1", "wrist"), data.samples.image_stamps[row], strict=True):
                topic = f"/cameras/{view}/color/image_raw/compressed"
                (index,) = np.flatnonzero(bag.stamps(topic) == stamp)
                pixels.append(simplejpeg.decode_jpeg(bytes(bag.message(topic, index).data)))
            assert np.array_equal(data[row]["images"], resize_views(pixels, SIZE))
            assert data.samples.image_stamps[row].min() == data[row]["stamp_ns"]


def test_ticks_are_those_of_the_control_rate(recorded):
    data = dataset(recorded, skip_idle=False)
    stamps = data.samples.stamps[: data.episodes[0].samples]
    assert 26 <= len(stamps) <= 30
    assert (np.diff(stamps) > 0).all()
    assert abs(np.diff(stamps).mean() / 1e9 - 0.1) < 0.005
    assert len(dataset(recorded, skip_idle=False, rate_hz=100.0)) > 2 * len(data)


def test_at_the_end_of_an_episode_steps_are_masked(recorded):
    data = dataset(recorded, skip_idle=False)
    last = data[data.episodes[0].samples - 1]
    known = last["action_mask"].tolist()
    assert known == sorted(known, reverse=True)
    assert 1 <= sum(known) < 8
    left = (START + 3_000_000_000 - last["stamp_ns"]) / 1e9
    assert sum(known) == int(left / 0.1 + 1e-9)
    assert torch.equal(last["actions"][-1, :7], last["actions"][-2, :7])  # held


def test_the_keyframe_is_where_the_hand_next_opens_or_closes(recorded):
    """It closes at 1.5 s; after that it is where the episode ends."""
    data, episode = dataset(recorded), MadeEpisode()
    for row in range(data.episodes[0].samples):
        sample = data[row]
        closed = sample["stamp_ns"] >= START + episode.grasp * 1e9
        expected = episode.measured(episode.seconds if closed else episode.grasp)
        assert np.allclose(sample["keyframe"], expected, atol=1e-3)
    assert not np.allclose(episode.measured(episode.seconds), episode.measured(episode.grasp), atol=0.1)


def test_gaps_in_the_commands_are_masked(tmp_path):
    MadeEpisode(gap=(1.4, 1.7)).write(tmp_path / "gap")
    data = dataset(tmp_path, skip_idle=False)
    due = data.samples.stamps[:, None] + np.arange(1, 9) * 100 * MS
    time = (due - START) / 1e9
    inside, outside = (time > 1.41) & (time < 1.69), (time < 1.39) | ((time > 1.71) & (time < 2.99))
    assert inside.any()
    assert not data.samples.action_mask[inside].any()
    assert data.samples.action_mask[outside].all()


@pytest.mark.parametrize(("source", "behind"), [(None, 0.0), ("next_joint_state", 0.02), ("leader", 0.0)])
def test_labels_are_what_was_asked_for(recorded, source, behind):
    episode, sample = MadeEpisode(), dataset(recorded, source=source)[5]
    time = (sample["stamp_ns"] - START) / 1e9
    expected = [episode.reference(time + 0.1 * (k + 1) - behind) for k in range(8)]
    assert np.allclose(sample["actions"][:, :7], expected, atol=1e-4)
    widths = [episode.width(time + 0.1 * (k + 1)) for k in range(8)]
    assert np.allclose(sample["actions"][:, 7], widths)


def test_labels_are_by_default_what_the_contract_says(tmp_path):
    measured = SIM.model_copy(update={"action": SIM.action.model_copy(update={"joints": "next_joint_state"})})
    MadeEpisode(cell=measured).write(tmp_path / "episode")
    default, measured, accepted = (
        dataset(tmp_path, source=s)[8] for s in (None, "next_joint_state", "accepted_reference")
    )
    assert torch.equal(default["actions"], measured["actions"])
    assert not torch.equal(default["actions"], accepted["actions"])


def test_samples_that_teach_to_stand_still_are_left_out(tmp_path):
    MadeEpisode(seconds=6.0, rest=2.0, grasp=3.0).write(tmp_path / "idle")
    everything, moving = dataset(tmp_path, skip_idle=False), dataset(tmp_path)
    times = (moving.samples.stamps - START) / 1e9
    assert times.min() == pytest.approx(2.0 - 0.8, abs=0.25)
    assert 3.6 < times.max() < 4.0  # the motion ends gently
    assert len(moving) < 0.6 * len(everything)


def test_other_views_fill_the_slots_and_no_other_image_is_opened(recorded, tmp_path):
    sample = dataset(recorded, views=["fixed_2", "wrist"])[3]
    assert not torch.equal(sample["images"][0], dataset(recorded)[3]["images"][0])
    MadeEpisode(topics=[f"/cameras/{name}/color/image_raw/compressed" for name in ("fixed_1", "wrist")]
                + ["/joint_states", "/franka_driver/reference"]).write(tmp_path / "two_cameras")  # fmt: skip
    assert len(dataset(tmp_path)) > 0
    with pytest.raises(DatasetError, match="no message on /cameras/fixed_2/color/image_raw/compressed"):
        dataset(tmp_path, views=["fixed_2", "wrist"])
    with pytest.raises(DatasetError, match="no camera 'top'"):
        dataset(tmp_path, views=["top"])


def test_any_worker_makes_the_same_samples(recorded):
    data = dataset(recorded)
    again = pickle.loads(pickle.dumps(data))
    expected = [data[i] for i in range(len(data))]
    loader = DataLoader(again, batch_size=7, num_workers=2)
    rows = [(batch, row) for batch in loader for row in range(len(batch["stamp_ns"]))]
    assert len(rows) == len(data)
    for sample, (batch, row) in zip(expected, rows, strict=True):
        for key in ("images", "proprioception", "actions", "action_mask"):
            assert torch.equal(sample[key], batch[key][row])
        assert sample["instruction"] == batch["instruction"][row]
    parts = [list(DistributedSampler(data, num_replicas=2, rank=rank, shuffle=True, seed=1)) for rank in (0, 1)]
    assert set(parts[0]) | set(parts[1]) == set(range(len(data)))


def test_geometry(tmp_path):
    episode = MadeEpisode(seconds=1.5, geometry=True, phase={"fixed_1": 0.0, "wrist": 0.0})
    episode.write(tmp_path / "episode")
    data = dataset(tmp_path, geometry=True)
    sample = data[4]
    time = (sample["stamp_ns"] - START) / 1e9
    assert sample["geometry_mask"].all()
    depth = episode.depth("wrist", time) / 1000
    assert sample["depth"].shape == (2, SIZE, SIZE)
    assert not sample["depth_mask"][:, 0, 0].any()
    assert torch.equal(sample["depth_mask"], sample["depth"] > 0)
    row, column = 40, 30
    assert sample["depth"][1, row, column] == pytest.approx(depth[int(40.5 / SIZE * 240), int(30.5 / SIZE * 320)])
    # A point that the whole camera sees at a pixel is seen by the squeezed one at the squeezed pixel's center.
    k = np.array([[288.0, 0.0, 159.5], [0.0, 288.0, 119.5], [0.0, 0.0, 1.0]])
    u, v, _ = k @ [0.1, -0.05, 1.0]
    squeezed = sample["intrinsics"][0].numpy() @ [0.1, -0.05, 1.0]
    assert np.allclose(squeezed[:2], [(u + 0.5) * SIZE / 320 - 0.5, (v + 0.5) * SIZE / 240 - 0.5], atol=1e-3)
    # The camera looks straight down from 0.5 m: the point below it, on the table, is 0.5 m ahead of it.
    below = sample["extrinsics"][0].numpy() @ [0.1, -0.2, 0.0, 1.0]
    assert np.allclose(below, [0.0, 0.0, 0.5 + 0.1 * time, 1.0], atol=1e-5)
    batch = next(iter(DataLoader(data, batch_size=3)))
    assert batch["extrinsics"].shape == (3, 2, 4, 4)


def test_without_ground_truth_geometry_is_masked_or_left_out(tmp_path):
    MadeEpisode(seconds=1.5, geometry=True).write(tmp_path / "a_simulated")
    MadeEpisode(seconds=1.5).write(tmp_path / "b_real" / "episode")
    mixed, real = dataset(tmp_path, geometry=True), dataset(tmp_path / "b_real", geometry=True)
    sample = mixed[len(mixed) - 1]
    assert not sample["geometry_mask"].any()
    assert not sample["depth"].any()
    assert sample["intrinsics"].shape == (2, 3, 3)
    assert mixed.has_geometry
    assert not real.has_geometry
    assert "depth" not in real[0]
    assert "depth" not in real.sample_at(0, real[0]["stamp_ns"])


def test_failures_and_rejected_episodes_are_left_out(copies):
    path = copies / "episode_000"
    replace(load_episode(path), outcome="failure").save(path)
    decide(copies / "episode_001", Verdict.REJECT, "hit the table")
    data = dataset(copies)
    assert reasons(data) == {"episode_000": "outcome: failure", "episode_001": "curation: reject (hit the table)"}
    assert [episode.path.name for episode in data.episodes] == ["episode_002"]
    assert len(dataset(copies, usable_only=False).episodes) == 3
    decide(path, Verdict.ACCEPT)
    assert len(dataset(copies).episodes) == 2


def test_the_part_to_train_on_is_a_view(copies):
    path = copies / "episode_000"
    before = sorted((file.name, file.stat().st_mtime_ns) for file in path.iterdir())
    Curation(start_ns=START + 10**9, end_ns=START + 2 * 10**9).save(path)
    data = dataset(copies, skip_idle=False)
    times = (data.samples.stamps[: data.episodes[0].samples] - START) / 1e9
    assert times.min() == pytest.approx(1.0, abs=0.11)
    assert times.max() == pytest.approx(2.0, abs=0.11)
    assert before == sorted((f.name, f.stat().st_mtime_ns) for f in path.iterdir() if f.name != "curation.yaml")


def spoil_bag(path):
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-1000])


def spoil_yaml(path):
    (path / "episode.yaml").write_text("id: [")


def spoil_label(path):
    file = path / "episode.yaml"
    file.write_text(file.read_text().replace("outcome: success", "outcome: splendid"))


def spoil_curation(path):
    (path / "curation.yaml").write_text("decided: perhaps\n")


def spoil_by_deletion(path):
    next(path.glob("*.mcap")).unlink()


def spoil_cell(path):
    data = yaml.safe_load((path / "episode.yaml").read_text())
    data["cell"] = "version: 7"
    (path / "episode.yaml").write_text(yaml.safe_dump(data))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_bag, "incomplete; copied in part, or its recording was cut off: copy it again"),
        (spoil_yaml, "episode.yaml: cannot be read"),
        (spoil_label, "outcome 'splendid': use one of"),
        (spoil_curation, "curation.yaml"),
        (spoil_by_deletion, "no .mcap file in it"),
        (spoil_cell, "episode.yaml: cell: version"),
    ],
)
def test_a_bad_episode_is_listed_and_the_rest_is_used(copies, spoil, said):
    spoil(copies / "episode_001")
    data = dataset(copies)
    (skipped,) = data.skipped
    assert said in skipped.reason
    assert "episode_001" in str(skipped)
    assert "\n" not in str(skipped)
    assert [episode.path.name for episode in data.episodes] == ["episode_000", "episode_002"]
    assert len(data) == sum(episode.samples for episode in data.episodes)


@pytest.mark.parametrize(
    "missing", ["/joint_states", "/franka_driver/reference", "/cameras/wrist/color/image_raw/compressed"]
)
def test_an_episode_without_a_needed_topic_is_listed(tmp_path, missing):
    needed = ["/joint_states", "/franka_driver/reference"]
    needed += [f"/cameras/{name}/color/image_raw/compressed" for name in ("fixed_1", "wrist")]
    MadeEpisode(topics=[topic for topic in needed if topic != missing]).write(tmp_path / "poor")
    with pytest.raises(DatasetError, match=f"poor_0.mcap: no message on {missing}"):
        dataset(tmp_path)


class Nonsensical(MadeEpisode):
    """Between these times, s, the third joint is measured where it cannot be, or not at all."""

    nonsense = (0.955, 1.035)
    value = 1e300

    def measured(self, time):
        joints = super().measured(time)
        if self.nonsense[0] < time < self.nonsense[1]:
            joints[2] = self.value
        return joints


@pytest.mark.parametrize("value", [1e300, np.nan])
def test_a_measurement_that_is_not_believed_is_interpolated_over(tmp_path, value):
    made = Nonsensical()
    made.value = value
    made.write(tmp_path / "nonsense")
    data = dataset(tmp_path)
    for stamp in (*data.samples.stamps.tolist(), START + 1000 * MS):
        found = data.sample_at(0, stamp)["proprioception"].numpy()
        time = (stamp - START) / 1e9
        np.testing.assert_allclose(found[:7], MadeEpisode().measured(time), atol=2e-3)


def test_an_episode_without_a_measurement_to_believe_is_listed(tmp_path):
    made = Nonsensical()
    made.nonsense = (-1.0, 10.0)
    made.write(tmp_path / "nonsense")
    said = r"/joint_states: none is believed; the first: fr3_joint3 at 1e\+300 rad, allowed -3.107 to 3.107"
    with pytest.raises(DatasetError, match=said):
        dataset(tmp_path)


def test_an_episode_of_another_cell(copies):
    slow = SIM.model_copy(update={"control_rate_hz": 5.0})
    MadeEpisode(cell=slow).write(copies / "slow")
    with pytest.raises(DatasetError, match=r"control_rate_hz: 10\.0 here, 5\.0 there.*Give directories of one cell"):
        dataset(copies)
    data = dataset(copies, cell=SIM)
    assert reasons(data) == {"slow": "recorded in another cell: control_rate_hz: 10.0 here, 5.0 there"}
    assert [episode.path.name for episode in dataset(copies, cell=slow).episodes] == ["slow"]


def test_nothing_to_learn_from(tmp_path, copies):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no episode in .*: record some with"):
        dataset(tmp_path / "empty")
    with pytest.raises(DatasetError, match="nowhere: no such directory"):
        dataset(tmp_path / "nowhere")
    for path in copies.iterdir():
        spoil_bag(path)
    with pytest.raises(DatasetError, match=r"no usable episode in .*:\n  .*episode_000_0\.mcap: incomplete"):
        dataset(copies)


def test_a_bag_that_changes_after_indexing_is_an_error_not_a_wrong_sample(copies):
    data = dataset(copies)
    spoil_by_deletion(data.episodes[0].path)
    with pytest.raises(DatasetError, match="cannot be read any more"):
        data[0]
    with pytest.raises(IndexError):
        data[len(data)]


def test_statistics(recorded):
    data = dataset(recorded, skip_idle=False)
    absolute, relative = (normalization(data.samples, SIM.embodiment, relative=relative) for relative in (False, True))
    home = np.array(SIM.arm.home)
    assert np.allclose(absolute.proprioception.q01[:7], home, atol=0.01)
    assert np.allclose(absolute.proprioception.q99[:7], home + 0.3 * np.linspace(1.0, 0.4, 7), atol=0.01)
    assert absolute.action.q01.shape == (8,)
    assert (absolute.action.q01[7], absolute.action.q99[7]) == pytest.approx((CLOSED, OPEN))
    assert relative.action.q01.shape == (8, 8)
    reach = relative.action.q99[:, 0]
    assert (np.diff(reach) > 0).all()
    assert relative.action.q99[:, 7] == pytest.approx(np.full(8, OPEN))
    # What training normalizes, the runtime brings back.
    sample = data[10]
    proprioception, actions = sample["proprioception"].double().numpy(), sample["actions"].double().numpy()
    targets = actions - np.append(proprioception[:7], 0.0)
    back = relative.chunk(relative.action.normalize(targets), origin=SIM.embodiment.origin(proprioception))
    assert np.allclose(back, actions, atol=0.02)


def test_what_is_left_out_is_told_in_one_line(tmp_path):
    write_episodes(tmp_path / "episodes", 6)
    paths = sorted((tmp_path / "episodes").iterdir())
    assert dataset(tmp_path / "episodes").left_out == ""
    for path in paths[:3]:
        decide(path, Verdict.REJECT, "too slow")
    (paths[3] / "episode.yaml").write_text("task: [")
    data = dataset(tmp_path / "episodes")
    assert data.left_out == f"4 of 6 left out (3 reject, 1 damaged): vga curate {tmp_path / 'episodes'}"
    for path in paths[4:]:
        decide(path, Verdict.REVIEW, "")
    with pytest.raises(DatasetError) as refusal:
        dataset(tmp_path / "episodes")
    assert str(refusal.value).endswith(
        f"episodes: 6 of 6 left out (3 reject, 2 review, 1 damaged): vga curate {tmp_path / 'episodes'}"
    )


def test_while_the_leader_is_silent_nobody_demonstrates(tmp_path):
    MadeEpisode(taken_over=(1.0, 2.4), held=(1.6, 2.0)).write(tmp_path / "corrected")
    samples = dataset(tmp_path, skip_idle=False, origins=list(Origin), before=0.3).samples
    held = (times := (samples.stamps - START) / 1e9) > 1.62
    held &= times < 1.98
    assert held.any()
    assert set(samples.origins[held]) <= {Origin.POLICY, Origin.PREINTERVENTION}
    assert Origin.DEMONSTRATION not in samples.origins


def test_corrections_are_told_from_what_the_policy_did_and_from_its_mistakes(recorded, tmp_path):
    MadeEpisode(taken_over=(1.6, 2.4)).write(tmp_path / "corrected")

    def seconds(**options):
        data = dataset(tmp_path, skip_idle=False, **options)
        return (data.samples.stamps - START) / 1e9, data.samples.origins

    times, origins = seconds(origins=list(Origin), before=0.5)
    corrected, mistaken = (times >= 1.6) & (times < 2.4), (times >= 1.1) & (times < 1.6)
    edge = np.min(np.abs(times[:, None] - [1.1, 1.6, 2.4]), axis=1) < 0.011  # a period of the references
    truth = np.where(corrected, Origin.INTERVENTION, np.where(mistaken, Origin.PREINTERVENTION, Origin.POLICY))
    assert (origins == truth)[~edge].all()
    assert len(set(origins)) == 3
    only, _ = seconds(origins={Origin.INTERVENTION})
    assert only.tolist() == times[origins == Origin.INTERVENTION].tolist()
    usual, _ = seconds(before=0.5)
    assert usual.tolist() == times[origins != Origin.PREINTERVENTION].tolist()
    assert (dataset(recorded).samples.origins == Origin.DEMONSTRATION).all()
