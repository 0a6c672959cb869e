"""Datasets of other people: no picture beside another row, no lost batch, no instruction or size that nobody meant."""

import errno
import json
import os
import shutil

import cv2
import foreign_dataset as made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_dataset import COUNT, DATA, EPISODES, FIRST, FPS, HEIGHT, INFO, KEYS, LENGTHS, TASKS, VIDEOS, WIDTH
from support.cells import HOME, SIM
from vga_policy.bags.writer import BagFile
from vga_policy.cell.loading import dump_cell, parse_cell
from vga_policy.cli import main
from vga_policy.episodes.metadata import load_episode
from vga_policy.lerobot.importing import ImportingError, import_dataset

ALL = {0, 1, 2}
NAME = "episode_{:06d}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "ds"
    made.write(root)
    return root


@pytest.fixture
def root(whole, tmp_path):
    """A copy to damage."""
    shutil.copytree(whole, tmp_path / "ds")
    return tmp_path / "ds"


def imported(root, out=None):
    """Imports, and holds every picture and joint against its row. Returns episodes, their reasons, other reasons."""
    out = out or root.parent / "out"
    written, problems = import_dataset(root, out, SIM)
    there = {int(path.name.removeprefix("episode_")) for path in written}
    for episode in there:
        rows = list(range(FIRST[episode], FIRST[episode] + LENGTHS[episode]))
        path = out / NAME.format(episode)
        assert made.seen(path) == dict.fromkeys(made.VIEWS, rows)
        np.testing.assert_allclose(made.first_joint(path), HOME[0] + 0.002 * np.array(rows), atol=1e-6)
        assert load_episode(path).instruction == "pick up the red cube"
    for problem in problems:
        told = str(problem).replace(str(root), "").replace(str(problem.path), "")
        assert "\n" not in told
        assert len(told) <= 200, told
    assert {path.name for path in out.glob("*")} == {NAME.format(episode) for episode in there}
    reasons = {int(p.path.name.removeprefix("episode_")): p.reason for p in problems if p.path.parent == out}
    return there, reasons, [p.reason for p in problems if p.path.parent != out]


# Pictures beside their rows.

DOUBLED = [*range(10), 9, *range(10, COUNT)]
CUT = [n for n in range(COUNT) if n != 10]
FRAME = 1 / FPS

MOVED = {
    "one frame later": (1.0, {0, 2}),
    "0.6 frames later": (0.6, {0, 2}),
    "one frame earlier": (-1.0, {0, 2}),
    "5 s earlier": (-5.0 * FPS, {0, 2}),
    "1000 s later": (1000.0 * FPS, {0, 2}),
    "0.4 frames later": (0.4, ALL),
    "0.4 frames earlier": (-0.4, ALL),
    "0.3 ms later": (3e-4 * FPS, ALL),
}


@pytest.mark.parametrize("both", [True, False], ids=["with its end", "alone"])
@pytest.mark.parametrize("case", MOVED)
def test_an_episode_that_begins_elsewhere_is_left_out(root, case, both):
    frames, expected = MOVED[case]
    ends = {"video_to_timestamp": lambda end: end + frames * FRAME} if both else {}
    made.change_row(root, 1, video_from_timestamp=lambda start: start + frames * FRAME, **ends)
    there, reasons, _ = imported(root)
    assert there == expected
    assert all("from_timestamp" in reason for reason in reasons.values())


FILMED = {
    "B-frames": ({"numbers": range(COUNT), "bf": "2", "g": "12"}, ALL, ""),
    "rounded times": ({"numbers": range(COUNT), "times": [n + 0.1 * (n % 2) for n in range(COUNT)]}, ALL, ""),
    "a frame cut, its gap kept": ({"numbers": CUT, "times": CUT}, {0, 2}, "no frame of its own for row 2"),
    "a frame cut, closed up": ({"numbers": CUT}, set(), "it ends at 2.000 s, its episodes at 2.100 s"),
    "the last frame missing": ({"numbers": range(COUNT - 1)}, set(), "it ends at 2.000 s"),
    "a frame doubled": ({"numbers": DOUBLED}, set(), "it ends at 2.200 s"),
    "a frame doubled in its place": (
        {"numbers": DOUBLED, "times": [*range(10), 9.9, *range(10, COUNT)]}, {0, 2}, "doubled",
    ),
    "begins at 1": ({"numbers": range(COUNT), "times": range(1, COUNT + 1)}, set(), "first frame is at 0.100 s"),
    "begins at 1, one short": ({"numbers": range(COUNT - 1), "times": range(1, COUNT)}, set(), "first frame is at"),
    "half the rate": ({"numbers": range(0, COUNT, 2), "fps": 5}, set(), ""),
    "a bit slower": ({"numbers": range(COUNT), "times": [1.1 * n for n in range(COUNT)]}, set(), "it ends at"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILMED)
def test_a_video_with_other_frames_is_told(root, case):
    how, expected, reason = FILMED[case]
    made.film_all(root, **how)
    there, reasons, _ = imported(root)
    assert there == expected
    assert all(reason in told for told in reasons.values())


def test_a_faster_video_gives_the_nearest_frames(root):
    """30 frames a second beside 10 rows; the frames between show something else."""
    numbers = [n for n in range(COUNT) for _ in range(3)]
    numbers = [n if i % 3 == 0 else (n + 7) % COUNT for i, n in enumerate(numbers)]
    made.film_all(root, numbers, fps=30)
    assert imported(root)[0] == ALL


def test_only_the_damaged_file_costs_its_episodes(root):
    """Two files a camera; and one of a single camera is not there at all."""
    for video in VIDEOS:
        made.film(root / video, range(FIRST[2]))
        made.film((root / video).with_name("file-001.mp4"), range(FIRST[2], COUNT))
    made.change_row(root, 2, video_file_index=1, video_from_timestamp=0.0, video_to_timestamp=LENGTHS[2] * FRAME)
    assert imported(root)[0] == ALL
    (root / VIDEOS[1]).with_name("file-001.mp4").unlink()
    there, reasons, _ = imported(root, root.parent / "again")
    assert there == {0, 1}
    assert reasons[2].endswith("file-001.mp4: missing")


def test_bytes_that_are_no_video_cost_what_is_in_them(root):
    for damage in (b"", b"\x00" * 100, (root / VIDEOS[0]).read_bytes()[:900]):
        (root / VIDEOS[0]).write_bytes(damage)
        there, reasons, _ = imported(root, root.parent / f"out_{len(damage)}")
        assert not there
        assert set(reasons) == ALL


@pytest.mark.parametrize("file", [INFO, TASKS, EPISODES, DATA], ids=str)
def test_damaged_bytes_are_one_line(root, file):
    """Whatever pyarrow and json raise for them; a codec that nobody knows is in the video's turn."""
    whole = (root / file).read_bytes()
    for place in range(4, len(whole), len(whole) // 8):
        (root / file).write_bytes(whole[:place] + bytes([0xF7]) * 3 + whole[place + 3 :])
        try:
            _, problems = import_dataset(root, root.parent / f"out_{place}", SIM)
        except ImportingError as refusal:
            problems = [str(refusal)]
        assert not [problem for problem in problems if "\n" in str(problem)]


def test_an_unknown_codec_is_named(root):
    video = root / VIDEOS[0]
    video.write_bytes(video.read_bytes().replace(b"avc1", b"qqqq"))
    _, reasons, _ = imported(root)
    assert set(reasons) == ALL
    assert all("its codec is not known" in reason for reason in reasons.values())


# What a dataset says of itself.

WRONG = [None, "abc", float("nan"), -1, 10**15, [1], {}, True]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("key", ["fps", "features", "data_path", "video_path", "total_episodes", "codebase_version"])
def test_a_wrong_value_in_info_is_one_line(root, key, value):
    made.change_info(root, lambda info: info.update({key: value}))
    if (key, value) == ("total_episodes", None):
        assert imported(root)[0] == ALL
        return
    try:
        there, reasons, others = imported(root)
    except ImportingError as refusal:
        told = str(refusal).replace(str(root), "")
        assert (key if key != "codebase_version" else "version") in told
        assert "\n" not in told
        assert len(told) <= 200
    else:
        assert (not there and set(reasons) == ALL) or others
        if key in ("features", "fps"):
            pytest.fail("such a dataset means nothing")


@pytest.mark.parametrize("key", ["fps", "features", "data_path", "codebase_version"])
def test_a_missing_key_of_info_is_named(root, key):
    made.change_info(root, lambda info: info.pop(key))
    with pytest.raises(ImportingError, match=key.removeprefix("codebase_")):
        imported(root)


ROW_KEYS = ["length", "data__chunk_index", "data__file_index", "video_chunk_index", "video_file_index",
            "video_from_timestamp", "video_to_timestamp"]  # fmt: skip


@pytest.mark.parametrize("value", [None, float("nan"), -1, 10**15, float("inf"), 0.5], ids=repr)
@pytest.mark.parametrize("key", ROW_KEYS)
def test_a_wrong_value_in_a_row_costs_its_episode(root, key, value):
    """A null makes floats of the whole column, as in pandas: the others' are whole numbers all the same."""
    if isinstance(value, float):
        for episode in ALL:
            made.change_row(root, episode, **{key: float})
    made.change_row(root, 1, **{key: value})
    there, reasons, _ = imported(root)
    assert there == {0, 2}
    assert key.replace("video_", "").replace("__", "/") in reasons[1]


@pytest.mark.parametrize("key", ROW_KEYS)
def test_a_missing_column_of_rows_is_named(root, key):
    table = pq.read_table(root / EPISODES)
    names = [name for name in table.column_names if name.endswith(key.replace("video_", "/").replace("__", "/"))]
    pq.write_table(table.drop_columns(names), root / EPISODES)
    there, reasons, _ = imported(root)
    assert not there
    assert all("is missing" in reason for reason in reasons.values())


@pytest.mark.parametrize("length", [5, 7])
def test_a_length_that_is_not_that_of_the_rows_costs_its_episode(root, length):
    made.change_row(root, 1, length=length)
    there, reasons, _ = imported(root)
    assert there == {0, 2}
    assert "length" in reasons[1]


@pytest.mark.parametrize("index", [None, -1, 10**12, 0])
def test_an_episode_without_its_number_is_left_out(root, index):
    made.change_row(root, 1, episode_index=index)
    there, reasons, others = imported(root)
    assert there == ({2} if index == 0 else {0, 2})  # two episodes 0: neither
    assert not reasons
    assert "episode_index" in others[0]


def test_episodes_that_are_not_listed_are_missed(root):
    rows = pq.read_table(root / EPISODES)
    pq.write_table(rows[:0], root / EPISODES)
    with pytest.raises(ImportingError, match=r"0 episodes, but info\.json says total_episodes 3"):
        imported(root)


def test_a_second_file_of_rows_that_is_damaged_is_named(root):
    (root / EPISODES).with_name("file-001.parquet").write_bytes(b"PAR1 damaged PAR1")
    there, _, others = imported(root)
    assert there == ALL
    assert "file-001.parquet: cannot be read" in others[0]


# Columns of legal datasets.


def _language(rows):
    return [[{"t": 0.1 * i, "text": "now"} for i in range(row % 4)] for row in range(rows)]


def test_columns_that_nobody_reads_do_not_matter(root):
    made.change_column(root, "category", ["manipulation"], file=TASKS)
    made.change_column(root, "language_events", _language(COUNT))
    made.change_column(root, "timestamp", lambda values: [[value] for value in values], pa.list_(pa.float32(), 1))
    assert imported(root)[0] == ALL


@pytest.mark.parametrize("index", ["__index_level_0__", "sentence"])
def test_tasks_in_the_index_of_pandas(root, index):
    table = pa.table({"task_index": [0], index: ["pick up the red cube"], "category": ["easy"]})
    described = {"index_columns": [index], "columns": [], "column_indexes": []}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), root / TASKS)
    assert imported(root)[0] == ALL


WITHIN = slice(FIRST[1], FIRST[1] + LENGTHS[1])


def _in_episode_1(change):
    def changed(values):
        values = list(values)
        values[WITHIN] = change(values[WITHIN])
        return values

    return changed


COLUMNS = {
    "no such task": ("task_index", lambda v: [7] * len(v), "no task_index 7"),
    "task changes": ("task_index", lambda v: [0, 0, 0, 1, 1, 1], "task_index changes from 0 to 1 at frame 3"),
    "task null": ("task_index", lambda v: [*v[:-1], None], "task_index: row 5 should be a whole number (found None)"),
    "frame missing": ("frame_index", lambda v: [0, 1, 2, 4, 5, 6], "frame_index 3 is missing"),
    "frame twice": ("frame_index", lambda v: [0, 1, 2, 2, 4, 5], "frame_index 3 is missing or there twice"),
    "rows of no episode": ("episode_index", lambda v: [9] * len(v), "0 frames of the episode"),
    "a day's jump": ("timestamp", lambda v: [*v[:3], *(t + 86400 for t in v[3:])], "timestamp of frame 3 is 86400"),
    "no time": ("timestamp", lambda v: [*v[:-1], None], "timestamp: row 5 should be a number"),
    "absolute time": ("timestamp", lambda v: [1.7e9 + t for t in v], "timestamp of frame 0 is"),
    "a short state": ("observation.state", lambda v: [*v[:-1], v[-1][:7]], "row 5 should be 8 finite numbers"),
    "an action that is none": ("action", lambda v: [*v[:-1], [float("nan")] * 8], "row 5 should be 8 finite"),
    "an action too large": ("action", lambda v: [*v[:-1], [1e300] * 8], "row 5 should be 8 finite"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_wrong_value_in_a_column_costs_its_episode(root, case):
    name, change, reason = COLUMNS[case]
    kind = pa.list_(pa.float64()) if name in ("observation.state", "action") else None
    made.change_column(root, name, _in_episode_1(change), kind)
    there, reasons, _ = imported(root)
    assert there == {0, 2}
    assert reason in reasons[1]


@pytest.mark.parametrize(
    "name", ["observation.state", "action", "timestamp", "frame_index", "task_index", "episode_index"]
)
def test_a_missing_column_is_named(root, name):
    made.change_column(root, name, None)
    there, reasons, _ = imported(root)
    assert not there
    assert all(f"no column {name}" in reason for reason in reasons.values())


# What it means.


@pytest.mark.parametrize(
    "text", [None, "", "  \t", "...", "nan", "None", "x" * 10_000], ids=lambda text: repr(text)[:8]
)
def test_an_episode_without_instruction_is_left_out(root, text):
    table = pa.table({"task_index": [0, 1], "task": pa.array(["pick up the red cube", text], pa.string())})
    pq.write_table(table, root / TASKS)
    made.change_column(root, "task_index", _in_episode_1(lambda values: [1] * len(values)))
    there, reasons, _ = imported(root)
    assert there == {0, 2}
    assert "no instruction" in reasons[1] or "characters" in reasons[1]


def _describe(root, **values):
    made.change_info(root, lambda info: [info["features"][key].update(values) for key in KEYS])


SIZES = {
    "channels first": ({"shape": [3, HEIGHT, WIDTH], "names": ["channels", "height", "width"]}, ""),
    "channels first, no names": ({"shape": [3, HEIGHT, WIDTH], "names": None}, ""),
    "width first": ({"shape": [WIDTH, HEIGHT, 3], "names": ["width", "height", "channel"]}, ""),
    "another size": ({"shape": [480, 640, 3]}, "is 64x48, but info.json says 640x480"),
    "turned": ({"shape": [WIDTH, HEIGHT, 3]}, "is 64x48, but info.json says 48x64"),
}


@pytest.mark.parametrize("case", SIZES)
def test_the_size_is_that_of_the_pictures(root, case):
    values, reason = SIZES[case]
    _describe(root, **values)
    there, reasons, _ = imported(root)
    assert there == (set() if reason else ALL)
    assert all(reason in told for told in reasons.values())
    for episode in there:
        color = parse_cell(load_episode(root.parent / "out" / NAME.format(episode)).cell).camera("wrist").color
        assert (color.width, color.height) == (WIDTH, HEIGHT)


NO_COLOR = {
    "one number": ({"shape": [HEIGHT]}, "expected height, width and 3 channels"),
    "one channel": ({"shape": [HEIGHT, WIDTH, 1]}, "1 channels, a color camera has 3"),
    "names against shape": ({"shape": [HEIGHT, WIDTH, 3], "names": ["channels", "height", "width"]}, "48 channels"),
    "no shape": ({"shape": None}, "shape: should be a valid list"),
    "a negative size": ({"shape": [-HEIGHT, WIDTH, 3]}, "should be greater than 0"),
    "a huge size": ({"shape": [1_000_000, 1_000_000, 3]}, "larger than any camera"),
    "depth": ({"info": {"video.is_depth_map": True}}, "is a depth map"),
    "depth, as newer": ({"info": {"is_depth_map": True}}, "is a depth map"),
    "no pictures": ({"dtype": "uint16"}, "dtype is 'uint16', expected image or video"),
}


@pytest.mark.parametrize("case", NO_COLOR)
def test_a_feature_that_is_not_of_a_color_camera_is_refused(root, case):
    values, reason = NO_COLOR[case]
    _describe(root, **values)
    with pytest.raises(ImportingError, match=reason) as refusal:
        imported(root)
    assert "info.json: features.observation.images." in str(refusal.value).replace("json: obs", "json: features.obs")


@pytest.mark.parametrize("pixels", ["gray", "gray16le"])
def test_a_video_in_gray_is_no_color(root, pixels):
    made.change_info(root, lambda info: info.update(video_path=info["video_path"].replace("mp4", "mkv")))
    for video in VIDEOS:
        made.film((root / video).with_suffix(".mkv"), range(COUNT), codec="ffv1", pixels=pixels)
    there, reasons, _ = imported(root)
    assert not there
    assert all(f"are {pixels}, not color" in reason for reason in reasons.values())


def _png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def _gray(number, *shape, dtype=np.uint8):
    return np.full((HEIGHT, WIDTH, *shape), made.DARK + made.STEP * number, dtype)


PICTURES = {
    "JPEG": (made.gray_jpeg, ""),
    "PNG": (lambda n: _png(_gray(n, 3)), ""),
    "PNG with alpha": (lambda n: _png(np.dstack([_gray(n, 3), _gray(0)])), ""),
    "JPEG in gray": (lambda n: made.gray_jpeg(n, space="GRAY"), "not in color"),
    "PNG in gray": (lambda n: _png(_gray(n)), "1 channels of 8 bit"),
    "PNG of depth": (lambda n: _png(_gray(n, dtype=np.uint16)), "1 channels of 16 bit"),
    "PNG of 16 bit": (lambda n: _png(_gray(n, 3, dtype=np.uint16)), "3 channels of 16 bit"),
    "cut off": (lambda n: made.gray_jpeg(n)[:-40], "cannot be decoded"),
    "another size": (lambda n: made.gray_jpeg(n, (32, 32)), "is 32x32, but info.json says 64x48"),
    "empty": (lambda n: b"", "cannot be decoded"),
    "elsewhere": (lambda n: None, "is not in the Parquet file"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_images_in_the_table(root, case):
    """In episode 1 as the case says, JPEG elsewhere."""
    encoded, reason = PICTURES[case]
    made.images(root, lambda n: encoded(n) if FIRST[1] <= n < FIRST[2] else made.gray_jpeg(n))
    there, reasons, _ = imported(root)
    assert there == ({0, 2} if reason else ALL)
    assert all(reason in told for told in reasons.values())


# The batch goes on.


def test_a_second_call_goes_on(root, tmp_path, capsys):
    """Exit status 1 while something is left out; what is there is not done again, and nothing else is overwritten."""
    (tmp_path / "cell.yaml").write_text(dump_cell(SIM))
    command = ["import", "lerobot", str(root), str(tmp_path / "out"), "--cell", str(tmp_path / "cell.yaml")]
    made.change_row(root, 1, video_chunk_index=None)
    assert main(command) == 1
    output = capsys.readouterr()
    assert "out: 2 episodes" in output.out
    assert output.err.count("left out") == output.err.count("episode 1:") == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.mcap")}
    made.change_row(root, 1, video_chunk_index=0)
    assert main(command) == 0
    assert imported(root)[0] == ALL
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()
    made.change_column(root, "action", lambda rows: [[*row[:7], 0.01] for row in rows], pa.list_(pa.float32(), 8))
    assert main(command) == 1
    assert capsys.readouterr().err.count("exists already and is something else") == 3


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), RuntimeError("a\nb" * 500), pa.ArrowInvalid("no")], ids=repr
)
def test_any_error_costs_one_episode(root, monkeypatch, error):
    close = BagFile.close

    def fail(bag):
        if next(failing, False):
            raise error
        close(bag)

    failing = iter([False, True])
    monkeypatch.setattr(BagFile, "close", fail)
    there, reasons, _ = imported(root)
    assert there == {0, 2}
    assert f"episode 1: {type(error).__name__}" in reasons[1]


def test_a_full_disk_ends_the_batch(root, monkeypatch):
    def fail(bag):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BagFile, "close", fail)
    with pytest.raises(OSError, match="No space left"):
        imported(root)


def _rows_of_another_file(root):
    (root / DATA).with_name("file-001.parquet").symlink_to("/dev/null")
    made.change_row(root, 1, data__file_index=1)


BATCH = {
    "chunk": lambda root: made.change_row(root, 1, video_chunk_index=None),
    "no data file": lambda root: made.change_row(root, 1, data__file_index=3),
    "a device for data": _rows_of_another_file,
}


@pytest.mark.parametrize("case", BATCH)
def test_a_file_that_is_none_costs_its_episode(root, case):
    BATCH[case](root)
    assert imported(root)[0] == {0, 2}


# Where the files are.


def test_a_dataset_in_the_cache_of_the_hub(root):
    """Every file a relative link to a blob."""
    snapshot, blobs = root.parent / "cache" / "snapshots" / "abc", root.parent / "cache" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        link = snapshot / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / f"{number:040x}")
        link.symlink_to(os.path.relpath(blobs / f"{number:040x}", link.parent))
    assert imported(snapshot)[0] == ALL


@pytest.mark.parametrize("folder", ["data", "videos", "meta", "meta/episodes", "data/chunk-000"])
def test_a_folder_on_another_disk(root, tmp_path, folder):
    (root / folder).rename(tmp_path / "elsewhere")
    (root / folder).symlink_to(tmp_path / "elsewhere")
    assert imported(root)[0] == ALL


PATHS = ["../../secret.parquet", "/etc/passwd", "data/../../x"]
TEMPLATES = ["{video_key.__class__}", "{chunk_index:0999999999d}", "{}", "{"]


@pytest.mark.parametrize("path", [*PATHS, *TEMPLATES])
def test_a_path_that_leads_elsewhere_is_refused(root, path):
    made.change_info(root, lambda info: info.update(data_path=path))
    if path in TEMPLATES:
        with pytest.raises(ImportingError, match="data_path"):
            imported(root)
        return
    there, reasons, _ = imported(root)
    assert not there
    assert all("lies outside of the dataset" in reason for reason in reasons.values())
