"""A bag's observations are the live node's, whatever the pattern of stamps and delays."""

import tempfile
from pathlib import Path

import numpy as np
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import SIM
from vga_policy.bags import cdr
from vga_policy.bags.writer import BagWriter
from vga_policy.cell.loading import dump_cell
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.episodes.metadata import Episode
from vga_policy.episodes.topics import JOINT_STATES, REFERENCE, image_topic
from vga_policy.observation.joint_states import JointStateError, JointStates
from vga_policy.observation.resampler import JpegImage, Resampler, Selection

START = 1_790_000_000 * 10**9
MS = 1_000_000
NONSENSE = 7  # joint states whose stamp this divides are not to be believed
VIEWS = [camera.name for camera in SIM.views]
NAMES = SIM.joint_state_names
IMAGE, STATE, COMMAND = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/JointState", "vga_msgs/msg/RobotReference"

# (interval to the stamp before, delay of arrival), ms: about 1 s of each stream, some with gaps
images = st.lists(st.tuples(st.integers(20, 110), st.integers(0, 80)), min_size=5, max_size=15)
joints = st.lists(st.tuples(st.integers(5, 60), st.integers(0, 40)), min_size=15, max_size=40)


def arrivals(name, samples):
    """(arrival, name, stamp) in ms; within a stream nothing overtakes."""
    stamp = arrival = 0
    for interval, delay in samples:
        stamp += interval
        arrival = max(arrival, stamp + delay)
        yield arrival, name, stamp


def message(name, stamp):
    header = {"stamp": START + stamp * MS}
    if name == JOINT_STATES:
        position = [*(np.array(SIM.arm.home) + 0.5 * np.sin(stamp / 100)), 0.02 + stamp * 1e-5]
        if stamp % NONSENSE == 0:
            position[stamp % len(NAMES)] = (np.nan, 1e300)[stamp % 2]
        return cdr.new(STATE, header=header, name=NAMES, position=position)
    if name == REFERENCE:
        return cdr.new(COMMAND, header=header, joint_names=NAMES[:7])
    shade = np.full((8, 16, 3), stamp % 256, np.uint8)
    return cdr.new(IMAGE, header=header, data=simplejpeg.encode_jpeg(shade, 90, "RGB", "420"))


def write(path, arriving):
    bag = BagWriter(path, {})
    for name in dict.fromkeys(name for _, name, _ in arriving):
        bag.add_topic(cdr.topic(name, message(name, 0).__msgtype__))
    for arrival, name, stamp in arriving:
        bag.write(name, cdr.encode(message(name, stamp)), START + arrival * MS, START + stamp * MS)
    bag.close()
    Episode(path.name, "task", "go", "", START, dump_cell(SIM), ended_ns=START, outcome="success").save(path)
    return path


def push(resampler, name, stamp):
    """As the live node does when a message comes."""
    taken = message(name, stamp)
    if name == JOINT_STATES:
        try:
            sample = JointStates(SIM).believed(taken.name, taken.position)
        except JointStateError as error:
            resampler.pass_over_joints(str(error))
        else:
            resampler.push_joints(START + stamp * MS, sample)
    elif name != REFERENCE:
        view = VIEWS[[image_topic(each) for each in VIEWS].index(name)]
        resampler.push_image(view, START + stamp * MS, JpegImage(bytes(taken.data)))


def assert_same(found, expected):
    assert found.stamp_ns == expected.stamp_ns
    assert found.image_stamps_ns == expected.image_stamps_ns
    assert np.array_equal(found.proprioception, expected.proprioception)
    for here, there in zip(found.images, expected.images, strict=True):
        assert np.array_equal(here.decode(), there.decode())


@settings(max_examples=40)
@given(fixed=images, wrist=images, states=joints, period=st.integers(10, 100))
def test_the_bag_gives_what_the_live_node_saw(fixed, wrist, states, period):
    streams = zip([*map(image_topic, VIEWS), JOINT_STATES], (fixed, wrist, states), strict=True)
    arriving = sorted(arrival for name, samples in streams for arrival in arrivals(name, samples))
    first, last = arriving[0][0], arriving[-1][0]
    with tempfile.TemporaryDirectory() as directory:
        demonstration = Demonstration(write(Path(directory) / "episode", [*arriving, (last, REFERENCE, last)]))
        live, waiting, seen = Resampler(VIEWS, SIM.inputs), list(arriving), {}
        for now in range(first, last + 1, period):
            while waiting and waiting[0][0] <= now:
                push(live, *waiting.pop(0)[1:])
            selected = live.select(START + now * MS)
            if isinstance(selected, Selection):
                seen.setdefault(selected.stamp_ns, selected)
        # The same ticks see the same, and no nonsense; and every t_obs by itself gives what was seen then.
        ticks = list(demonstration.observations(1000.0 / period))
        assert [selected.stamp_ns for selected in ticks] == list(seen)
        for selected in ticks:
            assert np.abs(selected.proprioception[:7] - SIM.arm.home).max() <= 0.5
            assert_same(selected, seen[selected.stamp_ns])
            assert_same(demonstration.observation_at(selected.stamp_ns), seen[selected.stamp_ns])
        demonstration.close()
