"""LeRobot v3.0: the layout that its reader expects, true times beside the grid, and the way back."""

import json
import re
import shutil

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import simplejpeg
from support.cells import SIM
from support.episodes import START, MadeEpisode
from vga_policy.cell.loading import dump_cell
from vga_policy.cli import main
from vga_policy.curation.curate import review
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.episodes.decisions import Curation, Verdict, decide
from vga_policy.episodes.metadata import load_episode
from vga_policy.lerobot import layout
from vga_policy.lerobot.export import ExportError, export
from vga_policy.lerobot.frames import frames_of
from vga_policy.lerobot.importing import ImportingError, import_dataset
from vga_policy.lerobot.reader import LeRobotReader
from vga_policy.lerobot.statistics import QUANTILES
from vga_policy.observation.resampler import Selection

VIEWS = ("fixed_1", "wrist")
COUNT = 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes, their cameras never in step with each other or with the control rate."""
    directory = tmp_path_factory.mktemp("recorded")
    for number in range(COUNT):
        instruction = f"pick up the cube, attempt {number}"
        MadeEpisode(seconds=2.0, seed=number, instruction=instruction, amplitude=0.5).write(directory / f"e{number}")
    return directory


@pytest.fixture(scope="module")
def exported(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "images"
    assert export([recorded], out).episodes == COUNT
    return out


@pytest.fixture
def cell(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(dump_cell(SIM))
    return path


def rows(root):
    return pq.read_table(root / layout.DATA_PATH.format(chunk_index=0, file_index=0))


def column(root, key):
    return np.array(rows(root)[key].to_pylist())


def test_frames_are_what_the_dataset_gives(recorded, exported):
    """State, action, pixels and instants, sample by sample."""
    samples = EpisodeDataset([recorded], image_size=240, skip_idle=False)
    table = rows(exported)
    assert len(table) == len(samples)
    assert column(exported, layout.STAMP).tolist() == samples.samples.stamps.tolist()
    assert column(exported, layout.CAPTURE_STAMPS).tolist() == samples.samples.image_stamps.tolist()
    np.testing.assert_array_equal(column(exported, layout.STATE), samples.samples.proprioception)
    np.testing.assert_array_equal(column(exported, layout.ACTION), samples.samples.actions[:, 0])
    assert column(exported, "episode_index").tolist() == [samples[i]["episode"] for i in range(len(samples))]


def test_what_a_person_did_who_had_taken_over_is_marked(exported, tmp_path):
    assert not column(exported, layout.INTERVENTION).any()
    MadeEpisode(taken_over=(1.0, 2.0)).write(tmp_path / "episodes" / "corrected")
    export([tmp_path / "episodes"], tmp_path / "out")
    stamps, marked = (column(tmp_path / "out", key) for key in (layout.STAMP, layout.INTERVENTION))
    times = (stamps - START) / 1e9
    assert marked.dtype == bool
    assert times[marked] == pytest.approx(times[(times > 1.0) & (times < 2.0)], abs=0.011)
    feature = json.loads((tmp_path / "out" / layout.INFO).read_text())["features"]["intervention"]
    assert feature == {"dtype": "bool", "shape": [1], "names": None}, "as LeRobot's own rollouts have it"


def test_timestamps_are_the_grid_that_lerobot_demands(exported):
    fps = json.loads((exported / layout.INFO).read_text())["fps"]
    assert fps == SIM.control_rate_hz
    np.testing.assert_allclose(column(exported, "timestamp"), column(exported, "frame_index") / fps, atol=1e-5)
    true = (column(exported, layout.STAMP)[:10] - column(exported, layout.STAMP)[0]) / 1e9
    assert np.abs(true - np.arange(10) / fps).max() < 1 / 15 + 1e-6  # a period of the cameras


def test_images_are_the_bytes_of_the_bag(recorded, exported):
    stored = rows(exported)[layout.image_key("wrist")].to_pylist()
    bag = next((recorded / "e0").glob("*.mcap")).read_bytes()
    assert all(cell["bytes"] in bag for cell in stored[:10])


def test_metadata_has_the_documented_schema(exported):
    info = json.loads((exported / layout.INFO).read_text())
    frames = rows(exported)
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (COUNT, len(frames), COUNT)
    assert info["splits"] == {"train": f"0:{COUNT}"}
    assert info["data_path"].format(chunk_index=0, file_index=0) == "data/chunk-000/file-000.parquet"
    assert sorted(frames.column_names) == sorted(info["features"])
    assert frames.schema.field("timestamp").type == pa.float32()
    assert frames.schema.field(layout.ACTION).type == pa.list_(pa.float32(), 8)
    assert frames.schema.field(layout.image_key("wrist")).type == pa.struct(
        [("bytes", pa.binary()), ("path", pa.string())]
    )
    assert info["features"][layout.ACTION]["names"] == [*SIM.arm.joint_names, "gripper_width"]
    # Extra columns must not look like observations, or policies would be fed with them.
    assert not [
        key
        for key in (layout.STAMP, layout.CAPTURE_STAMPS, layout.INTERVENTION)
        if key.startswith(("observation", "action"))
    ]
    episodes = pq.read_table(exported / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)).to_pylist()
    lengths = [episode["length"] for episode in episodes]
    assert [episode["dataset_from_index"] for episode in episodes] == [0, lengths[0]]
    assert [episode["dataset_to_index"] for episode in episodes] == [lengths[0], sum(lengths)]
    assert episodes[1]["tasks"] == ["pick up the cube, attempt 1"]
    tasks = pq.read_table(exported / layout.TASKS)
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    assert tasks.to_pydict()["__index_level_0__"] == ["pick up the cube, attempt 0", "pick up the cube, attempt 1"]


def test_statistics_are_those_of_the_data(exported):
    found = json.loads((exported / layout.STATISTICS).read_text())
    actions = column(exported, layout.ACTION).astype(np.float64)
    np.testing.assert_allclose(found[layout.ACTION]["mean"], actions.mean(axis=0))
    np.testing.assert_allclose(found[layout.ACTION]["q99"], np.quantile(actions, QUANTILES["q99"], axis=0))
    assert found[layout.ACTION]["count"] == [len(actions)]
    key = layout.image_key("fixed_1")
    pixels = np.stack([simplejpeg.decode_jpeg(cell["bytes"]) for cell in rows(exported)[key].to_pylist()]) / 255
    for name, expected in (("mean", pixels.mean(axis=(0, 1, 2))), ("std", pixels.std(axis=(0, 1, 2)))):
        assert np.shape(found[key][name]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(found[key][name]), expected, atol=1e-9)


@pytest.mark.parametrize("form", ["--images", "--video"])
def test_version_2_has_files_of_its_own_for_each_episode(recorded, exported, tmp_path, form, capsys):
    """LeRobot 0.3.3 reads both forms; here, what its reader looks up."""
    root = tmp_path / "old"
    assert (
        main(
            ["export", "lerobot", str(recorded), str(root), "--format-version", "2.1", "--image-size", "160x120", form]
        )
        == 0
    )
    info = json.loads((root / layout.INFO).read_text())
    assert (info["codebase_version"], info["total_chunks"]) == ("v2.1", 1)
    assert info["total_videos"] == (COUNT * len(VIEWS) if form == "--video" else 0)
    lines = {name: [json.loads(line) for line in (root / f"meta/{name}.jsonl").read_text().splitlines()]
             for name in ("tasks", "episodes", "episodes_stats")}  # fmt: skip
    assert [line["task"] for line in lines["tasks"]] == [f"pick up the cube, attempt {i}" for i in range(COUNT)]
    modality = json.loads((root / "meta/modality.json").read_text())
    assert modality["video"]["wrist"] == {"original_key": "observation.images.wrist"}
    for episode, line in enumerate(lines["episodes"]):
        table = pq.read_table(root / info["data_path"].format(episode_chunk=0, episode_index=episode))
        assert (line["episode_index"], line["length"]) == (episode, len(table))
        expected = rows(exported).filter(pc.field("episode_index") == episode)
        assert table.select(["action", "timestamp"]).equals(expected.select(["action", "timestamp"]))
        found = lines["episodes_stats"][episode]["stats"][layout.ACTION]
        np.testing.assert_allclose(found["max"], np.array(table["action"].to_pylist()).max(axis=0))
        if form == "--images":
            described = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
            assert described["observation.images.wrist"] == {"_type": "Image"}
            assert sorted(described) == sorted(table.column_names)
            continue
        video = info["video_path"].format(episode_chunk=0, episode_index=episode, video_key="observation.images.wrist")
        with av.open(str(root / video)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        np.testing.assert_allclose(times, table["timestamp"].to_numpy(), atol=1e-4)


def test_a_video_frame_is_found_at_its_time(recorded, tmp_path):
    """As LeRobot looks one up: from_timestamp + timestamp, within 0.1 ms, in a file of several episodes."""
    out = tmp_path / "videos"
    export([recorded], out, video=True, size=(160, 120))
    reader, images = LeRobotReader(out), tmp_path / "images"
    export([recorded], images, size=(160, 120))
    key = layout.image_key("wrist")
    assert reader.features[key]["info"]["video.codec"] == "h264"
    with av.open(str(out / layout.VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0))) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == reader.fps
        times = [frame.time for frame in container.decode(stream)]
    np.testing.assert_allclose(times, np.arange(len(rows(out))) / reader.fps, atol=1e-4)
    stored = LeRobotReader(images)
    for episode in range(COUNT):
        original = [simplejpeg.decode_jpeg(image) for image in stored.images(episode, key)]
        decoded = list(reader.images(episode, key))
        assert len(decoded) == len(original)
        errors = [np.abs(a.astype(float) - b).mean() for a, b in zip(decoded, original, strict=True)]
        assert max(errors) < 6
        assert np.abs(decoded[0].astype(float) - original[8]).mean() > 2 * max(errors)  # the bar has moved


def test_only_usable_parts_are_exported(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "set")
    whole = LeRobotReader(tmp_path / "set_out") if export([tmp_path / "set"], tmp_path / "set_out") else None
    stamps = whole.numbers(0)[layout.STAMP]
    Curation(Verdict.ACCEPT, start_ns=int(stamps[3]), end_ns=int(stamps[-4])).save(tmp_path / "set" / "e0")
    decide(tmp_path / "set" / "e1", Verdict.REJECT, "too slow")
    done = export([tmp_path / "set"], tmp_path / "part")
    assert done.episodes == 1
    assert [skipped.reason for skipped in done.skipped] == ["curation: reject (too slow)"]
    assert LeRobotReader(tmp_path / "part").numbers(0)[layout.STAMP].tolist() == stamps[3:-3].tolist()
    assert export([tmp_path / "set"], tmp_path / "all", usable_only=False).episodes == COUNT


def test_a_hole_is_no_frame(recorded, tmp_path):
    """LeRobot counts frames instead of time: an episode with a gap is left out, and the reason says where it is."""
    shutil.copytree(recorded, tmp_path / "set")
    MadeEpisode(seconds=3.0, gap=(1.0, 2.0), amplitude=0.5).write(tmp_path / "set" / "gap")
    done = export([tmp_path / "set"], tmp_path / "out")
    (skipped,) = done.skipped
    assert skipped.path.name == "gap"
    assert skipped.reason.startswith("no observation 1.")
    assert done.episodes == COUNT


class LateImages(MadeEpisode):
    """Cameras skip what they would have sent within 170 ms."""

    def _messages(self):
        return (each for each in super()._messages() if not ("/cameras/" in each[1] and 1.0 <= each[0] < 1.17))


def test_a_single_missing_observation_repeats_a_frame(tmp_path):
    LateImages(seconds=3.0, amplitude=0.5).write(tmp_path / "set" / "late")
    demonstration = Demonstration(tmp_path / "set" / "late")
    seen = [isinstance(each, Selection) for _, each in demonstration.ticks(10)]
    demonstration.close()
    assert seen[seen.index(True) :].count(False) == 1
    done = export([tmp_path / "set"], tmp_path / "out", video=False)
    assert (done.skipped, done.episodes) == ([], 1)
    stamps = LeRobotReader(tmp_path / "out").numbers(0)[layout.STAMP]
    assert (np.diff(stamps) == 0).sum() == done.repeated > 0


def test_damaged_episodes_are_named_once_and_the_rest_exported(recorded, tmp_path, capsys, monkeypatch):
    """Whatever is wrong with them; exit status 1 says so, unlike for what a person rejected."""
    for number in range(2, 5):
        shutil.copytree(recorded / "e0", tmp_path / "set" / f"e{number}")
    for number in range(COUNT):
        shutil.copytree(recorded / f"e{number}", tmp_path / "set" / f"e{number}")
    decide(tmp_path / "set" / "e1", Verdict.REJECT, "too slow")
    bag = tmp_path / "set" / "e2" / "e0_0.mcap"
    bag.write_bytes(bag.read_bytes()[:-5000])
    (tmp_path / "set" / "e3" / "episode.yaml").write_text("task: [")

    def odd(demonstration, *others):
        if demonstration.path.name == "e4":
            raise KeyError("odd")
        return frames_of(demonstration, *others)

    monkeypatch.setattr("vga_policy.lerobot.export.frames_of", odd)
    assert main(["export", "lerobot", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--images"]) == 1
    output = capsys.readouterr()
    *lines, last = output.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"left out: {tmp_path / 'set'}/e{number}") for number, line in enumerate(lines, 2))
    assert "KeyError" in lines[2]
    assert last == f"4 of 5 left out (3 damaged, 1 reject): vga curate {tmp_path / 'set'}"
    assert ": 1 episodes" in output.out
    for number in (2, 3, 4):
        shutil.rmtree(tmp_path / "set" / f"e{number}")
    assert main(["export", "lerobot", str(tmp_path / "set"), str(tmp_path / "again"), "--images"]) == 0


def test_a_failed_export_leaves_nothing(tmp_path):
    MadeEpisode(seconds=1.0, outcome="failure").write(tmp_path / "set" / "failure")
    with pytest.raises(ExportError, match="outcome: failure"):
        export([tmp_path / "set"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match="exists already"):
        export([tmp_path / "set"], tmp_path / "out")


def test_there_and_back_again(exported, tmp_path, cell, capsys):
    """Export → import → export: the same frames, bit by bit, with their true times, labels and JPEGs."""
    assert main(["import", "lerobot", str(exported), str(tmp_path / "back"), "--cell", str(cell)]) == 0
    assert f"{COUNT} episodes" in capsys.readouterr().out
    first = load_episode(tmp_path / "back" / "e0")
    assert (first.task, first.outcome, first.source) == ("pick_cube", "success", "lerobot import")
    assert [each.verdict for each in review(tmp_path / "back").assessments] == [Verdict.ACCEPT] * COUNT
    assert main(["export", "lerobot", str(tmp_path / "back"), str(tmp_path / "again"), "--images"]) == 0
    assert rows(tmp_path / "again").equals(rows(exported))


def test_other_peoples_datasets_come_in_by_their_timestamps(exported, tmp_path):
    """Without our columns and labels, with PNG images and a task index of another name."""
    theirs = tmp_path / "theirs"
    shutil.copytree(exported, theirs)
    (theirs / layout.OURS).unlink()
    table = rows(theirs).drop_columns([layout.STAMP, layout.CAPTURE_STAMPS])
    for key in map(layout.image_key, VIEWS):
        images = [{"bytes": _png(cell["bytes"]), "path": None} for cell in table[key].to_pylist()]
        table = table.set_column(table.column_names.index(key), key, pa.array(images))
    tasks = pq.read_table(theirs / layout.TASKS).rename_columns(["task_index", "task"])
    pq.write_table(tasks, theirs / layout.TASKS)
    pq.write_table(table, theirs / layout.DATA_PATH.format(chunk_index=0, file_index=0))
    written, problems = import_dataset(theirs, tmp_path / "back", SIM)
    assert not problems
    assert [path.name for path in written] == ["episode_000000", "episode_000001"]
    assert load_episode(written[0]).outcome is None  # nobody said so: curation leaves it to a person
    import_dataset(theirs, tmp_path / "labeled", SIM, outcome="success")
    samples = EpisodeDataset([tmp_path / "labeled"], image_size=32, skip_idle=False)
    np.testing.assert_allclose(samples.samples.actions[:, 0], column(exported, layout.ACTION), atol=1e-6)
    np.testing.assert_allclose(samples.samples.proprioception, column(exported, layout.STATE), atol=1e-6)


def _png(jpeg):
    pixels = cv2.cvtColor(simplejpeg.decode_jpeg(jpeg), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _damage(root, name, change):
    data = json.loads((root / name).read_text())
    change(data)
    (root / name).write_text(json.dumps(data))


def test_what_does_not_match_is_refused_by_name(exported, tmp_path, cell, capsys):
    root = tmp_path / "other"

    def refusal(change):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(exported, root)
        _damage(root, layout.INFO, change)
        assert main(["import", "lerobot", str(root), str(tmp_path / "back"), "--cell", str(cell)]) == 1
        assert not (tmp_path / "back").exists()
        return capsys.readouterr().err

    def rename_joint(info):
        info["features"][layout.ACTION]["names"][0] = "shoulder"

    def drop_camera(info):
        del info["features"][layout.image_key("wrist")]

    assert "action is ['shoulder'" in refusal(rename_joint)
    assert "no observation.images.wrist, which cell 'sim' needs" in refusal(drop_camera)
    assert "version v2.1, expected v3" in refusal(lambda info: info.update(codebase_version="v2.1"))
    assert "lies outside" in refusal(lambda info: info.update(data_path="../../secret.parquet"))


def test_joints_and_cameras_of_other_names_are_mapped(exported, tmp_path, capsys):
    theirs = tmp_path / "theirs"
    shutil.copytree(exported, theirs)
    (theirs / layout.OURS).unlink()
    table = rows(theirs).drop_columns([layout.STAMP, layout.CAPTURE_STAMPS])
    top = layout.image_key("top")
    table = table.rename_columns([top if name == layout.image_key("fixed_1") else name for name in table.column_names])
    pq.write_table(table, theirs / layout.DATA_PATH.format(chunk_index=0, file_index=0))

    def others(info):
        for key in (layout.STATE, layout.ACTION):
            info["features"][key]["names"] = {"motors": [*(f"motor_{i}" for i in range(7)), "hand"]}
        info["features"][top] = info["features"].pop(layout.image_key("fixed_1"))

    _damage(theirs, layout.INFO, others)
    command = ["import", "lerobot", str(theirs), "--out", str(tmp_path / "back"), "--cell", "sim"]
    assert main(command) == 1
    assert "if it means the same, add --map motor_0=fr3_joint1,..." in capsys.readouterr().err
    pairs = [f"motor_{i}=fr3_joint{i + 1}" for i in range(7)] + [f"hand={layout.GRIPPER}"]
    assert main([*command, "--map", ",".join(pairs)]) == 1
    assert "no observation.images.fixed_1, which cell 'sim' needs" in capsys.readouterr().err
    assert main([*command, "--map", ",".join([*pairs, "tip=fixed_1"])]) == 1
    assert "--map: the dataset has no 'tip'; it has ['hand', 'motor_0'" in capsys.readouterr().err
    assert main([*command, "--map", ",".join([*pairs, "top=fixed_1"]), "--outcome", "success"]) == 0
    samples = EpisodeDataset([tmp_path / "back"], image_size=32, skip_idle=False)
    np.testing.assert_allclose(samples.samples.proprioception, column(exported, layout.STATE), atol=1e-6)
    with pytest.raises(SystemExit):
        main([*command, "--map", "motor_0"])
    assert "'motor_0': NAME=MEANING expected, such as motor_0=fr3_joint1" in capsys.readouterr().err


def test_an_episode_that_says_not_what_to_do_is_not_exported(recorded, tmp_path, capsys):
    shutil.copytree(recorded / "e0", tmp_path / "set" / "e0")
    file = tmp_path / "set" / "e0" / "episode.yaml"
    file.write_text(re.sub(r"^instruction:.*$", "instruction: ' '", file.read_text(), flags=re.MULTILINE))
    for more in ([], ["--all"]):
        assert main(["export", "lerobot", str(tmp_path / "set"), "--out", str(tmp_path / "out"), *more]) == 1
        assert "no instruction: write into its episode.yaml what the arm does" in capsys.readouterr().err


def test_the_output_may_still_be_the_last_place(recorded, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", "lerobot", str(recorded), str(out), "--images"]) == 0
    assert capsys.readouterr().err == f"vga export lerobot: the last place is now given with --out {out}\n"
    assert main(["export", "lerobot", str(recorded), "--images"]) == 1
    assert capsys.readouterr().err == "vga export lerobot: --out is missing: where to write\n"


def test_a_dataset_is_not_taken_for_episodes(exported, capsys):
    assert main(["eval", "open-loop", "--checkpoint", "nano", "--data", str(exported)]) == 1
    assert "it is a LeRobot dataset; make episodes of it with `vga import lerobot" in capsys.readouterr().err


def test_a_broken_dataset_is_refused_and_a_broken_episode_left_out(exported, tmp_path):
    with pytest.raises(ImportingError, match="this is no LeRobot"):
        import_dataset(tmp_path, tmp_path / "back", SIM)
    root = tmp_path / "broken"
    shutil.copytree(exported, root)
    table = rows(root)
    stamps = column(root, layout.STAMP)
    stamps[np.flatnonzero(column(root, "episode_index") == 1)[5]] -= 10**9
    place = table.column_names.index(layout.STAMP)
    pq.write_table(
        table.set_column(place, layout.STAMP, pa.array(stamps)),
        root / layout.DATA_PATH.format(chunk_index=0, file_index=0),
    )
    written, (problem,) = import_dataset(root, tmp_path / "back", SIM)
    assert [path.name for path in written] == ["e0"]
    assert "episode 1: its times run backwards" in problem.reason
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["e0"]
    before = (tmp_path / "back" / "e0" / "e0_0.mcap").stat().st_mtime_ns
    assert import_dataset(root, tmp_path / "back", SIM) == (written, [problem])
    assert (tmp_path / "back" / "e0" / "e0_0.mcap").stat().st_mtime_ns == before
