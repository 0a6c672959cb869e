"""A small LeRobot v3.0 dataset as others write one, and ways to damage it.

A picture's gray level tells its frame's number, and the first joint's angle its row's.
"""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from support.cells import HOME, SIM
from vga_policy.bags.reader import Bag
from vga_policy.episodes.topics import JOINT_STATES, image_topic

FPS, LENGTHS, WIDTH, HEIGHT = 10, (8, 6, 7), 64, 48
FIRST = (0, 8, 14)  # frame of each episode
COUNT = sum(LENGTHS)
VIEWS = tuple(camera.name for camera in SIM.views)
KEYS = tuple(f"observation.images.{name}" for name in VIEWS)
INFO, TASKS = Path("meta/info.json"), Path("meta/tasks.parquet")
DATA, EPISODES = Path("data/chunk-000/file-000.parquet"), Path("meta/episodes/chunk-000/file-000.parquet")
VIDEOS = tuple(Path(f"videos/{key}/chunk-000/file-000.mp4") for key in KEYS)
NAMES = [*SIM.arm.joint_names, "gripper_width"]
X264 = {"g": "2", "bf": "0", "crf": "1"}
DARK, STEP = 20, 4  # gray level of frame 0, and how much lighter the next one is


def write(root):
    """Three episodes without anything of our own, one video file a camera."""
    numbers = np.arange(COUNT)
    joints = [[*(HOME + 0.002 * n), 0.08] for n in numbers]
    within = np.concatenate([np.arange(length) for length in LENGTHS])
    floats = pa.list_(pa.float32(), 8)
    table = pa.table({
        "observation.state": pa.array(joints, floats),
        "action": pa.array(joints, floats),
        "timestamp": pa.array(within / FPS, pa.float32()),
        "frame_index": within,
        "episode_index": np.repeat(np.arange(3), LENGTHS),
        "index": numbers,
        "task_index": np.zeros(COUNT, dtype=np.int64),
    })  # fmt: skip
    _parquet(root / DATA, table)
    _parquet(root / TASKS, pa.table({"task_index": [0], "task": ["pick up the red cube"]}))
    rows = []
    for episode, (first, length) in enumerate(zip(FIRST, LENGTHS, strict=True)):
        row = {"episode_index": episode, "length": length, "data/chunk_index": 0, "data/file_index": 0}
        for key in KEYS:
            span = {"from_timestamp": first / FPS, "to_timestamp": (first + length) / FPS}
            row |= {
                f"videos/{key}/{name}": value for name, value in {"chunk_index": 0, "file_index": 0, **span}.items()
            }
        rows.append(row)
    _parquet(root / EPISODES, pa.Table.from_pylist(rows))
    motors = {"dtype": "float32", "shape": [8], "names": NAMES}
    picture = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    features = {"observation.state": motors, "action": motors, **dict.fromkeys(KEYS, picture)}
    info = {
        "codebase_version": "v3.0", "fps": FPS, "total_episodes": 3, "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    (root / INFO).write_text(json.dumps(info))
    for video in VIDEOS:
        film(root / video, range(COUNT))


def film(path, numbers, fps=FPS, times=None, codec="libx264", pixels="yuv420p", **options):
    """A video of the frames of these numbers, shown at `times` (in frames; by default one after another)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={**X264, **options} if codec == "libx264" else options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.codec_context.time_base = Fraction(1, 10 * fps)
        for place, number in enumerate(numbers):
            picture = np.full((HEIGHT, WIDTH, 3), DARK + STEP * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(10 * (place if times is None else times[place]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def film_all(root, numbers, **how):
    """The same video for every camera."""
    for video in VIDEOS:
        (root / video).unlink()
        film(root / video, numbers, **how)


def images(root, encoded):
    """Pictures in the Parquet file instead of videos: encoded(number) gives each one's bytes."""
    change_info(root, lambda info: [info["features"][key].update(dtype="image") for key in KEYS])
    shutil.rmtree(root / "videos")
    cells = pa.array([{"bytes": encoded(n), "path": None} for n in range(COUNT)])
    table = pq.read_table(root / DATA)
    for key in KEYS:
        table = table.append_column(key, cells)
    pq.write_table(table, root / DATA)


def gray_jpeg(number, size=(HEIGHT, WIDTH), space="RGB"):
    """A frame's picture as JPEG."""
    channels = 1 if space == "GRAY" else 3
    return simplejpeg.encode_jpeg(np.full((*size, channels), DARK + STEP * number, np.uint8), 95, space)


def change_info(root, change):
    """Changes what info.json says."""
    info = json.loads((root / INFO).read_text())
    change(info)
    (root / INFO).write_text(json.dumps(info))


def change_row(root, episode, **values):
    """Changes what `meta/episodes` says of an episode; `video_` stands for every camera's videos/…/."""
    rows = pq.read_table(root / EPISODES).to_pylist()
    for name, value in values.items():
        keys = [f"videos/{key}/{name[6:]}" for key in KEYS] if name.startswith("video_") else [name.replace("__", "/")]
        for key in keys:
            rows[episode][key] = value(rows[episode][key]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows), root / EPISODES)


def change_column(root, name, values, kind=None, file=DATA):
    """Puts other values into a column, which may be a new one; None takes it out."""
    table = pq.read_table(root / file)
    if name in table.column_names:
        old = table[name].to_pylist()
        table = table.drop_columns([name])
        values = values(old) if callable(values) else values
    if values is not None:
        table = table.append_column(name, pa.array(values, kind))
    pq.write_table(table, root / file)


def seen(episode):
    """By camera, the number of the frame that each picture of an imported episode shows, in order of the stamps."""
    with Bag(episode) as bag:
        found = {}
        for view in VIEWS:
            pictures = [simplejpeg.decode_jpeg(bytes(message.data)) for message in bag.messages(image_topic(view))]
            found[view] = [round((float(pixels.mean()) - DARK) / STEP) for pixels in pictures]
        return found


def first_joint(episode):
    """The first joint's angle (rad) at the pictures' times."""
    with Bag(episode) as bag:
        stamps = bag.stamps(image_topic(VIEWS[0]))
        states = dict(zip(bag.stamps(JOINT_STATES).tolist(), bag.messages(JOINT_STATES), strict=True))
        return [float(states[stamp].position[0]) for stamp in stamps.tolist()]


def _parquet(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
