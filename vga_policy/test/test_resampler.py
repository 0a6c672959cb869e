"""The resampler: what an observation is made of, and what keeps it from being made."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from support.cells import SIM
from vga_policy.cell.schema import PolicyInputs
from vga_policy.observation.joint_states import Disbelief, JointStateError, JointStates, proprioception
from vga_policy.observation.observation import Observation
from vga_policy.observation.resampler import (
    IMAGES_KEPT,
    JOINTS,
    JOINTS_KEPT,
    Fault,
    JpegImage,
    Resampler,
)

MS = 1_000_000
VIEWS = ("fixed_1", "wrist")
LIMITS = PolicyInputs(max_image_age=0.2, max_joint_age=0.1, max_image_skew=0.15)


class FakeImage:
    """An image that knows its stamp and counts how often it is decoded."""

    def __init__(self, stamp):
        self.stamp = stamp
        self.decoded = 0

    def decode(self):
        self.decoded += 1
        return np.full((2, 2, 3), self.stamp // MS % 256, np.uint8)


def joints_at(stamp_ns):
    """A motion that is linear in time, so that interpolation must be exact."""
    return np.arange(8) * 0.1 + stamp_ns / 1e9 * np.linspace(-1.0, 1.0, 8)


def resampler(images, joints, views=VIEWS):
    """A resampler holding images {view: [ms, ...]} and joint states [ms, ...]."""
    made = Resampler(views, LIMITS)
    for view, stamps in images.items():
        for stamp in stamps:
            made.push_image(view, stamp * MS, FakeImage(stamp * MS))
    for stamp in joints:
        made.push_joints(stamp * MS, joints_at(stamp * MS))
    return made


def faults(result):
    assert isinstance(result, tuple), result
    return [(problem.input, problem.fault) for problem in result]


def steady(first, last, period=10):
    return range(first, last + 1, period)


def test_t_obs_is_the_oldest_of_the_newest_images():
    observation = resampler({"fixed_1": [900, 960], "wrist": [880, 940]}, steady(800, 1000)).observe(1000 * MS, "go")
    assert isinstance(observation, Observation)
    assert observation.stamp_ns == 940 * MS
    assert observation.image_stamps_ns == (960 * MS, 940 * MS)
    assert [image[0, 0, 0] for image in observation.images] == [960 % 256, 940 % 256]
    assert observation.instruction == "go"
    np.testing.assert_allclose(observation.proprioception, joints_at(940 * MS), atol=1e-12)


def test_proprioception_is_interpolated_between_samples():
    made = resampler({"fixed_1": [953], "wrist": [961]}, [940, 970, 1000])
    np.testing.assert_allclose(made.observe(1000 * MS, "").proprioception, joints_at(953 * MS), atol=1e-12)


@pytest.mark.parametrize(
    ("images", "joints", "expected"),
    [
        ({}, [], [("fixed_1", Fault.MISSING), ("wrist", Fault.MISSING), (JOINTS, Fault.MISSING)]),
        ({"fixed_1": [950]}, steady(800, 1000), [("wrist", Fault.MISSING)]),
        ({"fixed_1": [799], "wrist": [950]}, steady(700, 1000), [("fixed_1", Fault.STALE)]),
        ({"fixed_1": [950], "wrist": [950]}, steady(700, 890), [(JOINTS, Fault.STALE)]),
        ({"fixed_1": [810], "wrist": [970]}, steady(700, 1000), [("fixed_1", Fault.SKEWED)]),
        ({"fixed_1": [950], "wrist": [1011]}, steady(700, 1000), [("wrist", Fault.FUTURE)]),
        ({"fixed_1": [900], "wrist": [900]}, [840, 960, 1000], [(JOINTS, Fault.GAP)]),
        ({"fixed_1": [950], "wrist": [950]}, [981, 1000], [(JOINTS, Fault.OUTSIDE)]),
        ({"fixed_1": [990], "wrist": [990]}, [940, 959], [(JOINTS, Fault.OUTSIDE)]),
    ],
)
def test_every_problem_is_named(images, joints, expected):
    made = resampler(images, joints)
    assert faults(made.observe(1000 * MS, "")) == expected
    assert faults(made.problems(1000 * MS)) == expected


def test_problems_say_age_and_limit():
    made = resampler({"fixed_1": [469], "wrist": [950]}, steady(800, 1000))
    assert [str(problem) for problem in made.problems(1000 * MS)] == ["fixed_1: newest is 0.531 s old, limit 0.200 s"]


def test_limits_are_inclusive():
    made = resampler({"fixed_1": [800], "wrist": [890]}, steady(700, 900))
    assert made.problems(1000 * MS) == ()
    assert faults(made.problems(1001 * MS)) == [("fixed_1", Fault.STALE), (JOINTS, Fault.STALE)]


def test_an_image_counts_once_the_joint_states_have_caught_up_with_it():
    made = resampler({"fixed_1": [900, 960], "wrist": [910, 970]}, [880, 920, 955])
    assert made.observe(1000 * MS, "").image_stamps_ns == (900 * MS, 910 * MS)
    made.push_joints(971 * MS, joints_at(971 * MS))
    observation = made.observe(1000 * MS, "")
    assert observation.image_stamps_ns == (960 * MS, 970 * MS)
    np.testing.assert_allclose(observation.proprioception, joints_at(960 * MS), atol=1e-12)


def test_of_a_faster_view_the_image_closest_to_t_obs_is_taken():
    made = resampler({"fixed_1": [900], "wrist": [880, 910, 940, 970]}, steady(800, 1000))
    assert made.observe(1000 * MS, "").image_stamps_ns == (900 * MS, 910 * MS)


def test_the_observation_at_a_known_time():
    made = resampler({"fixed_1": [900, 960], "wrist": [910, 970]}, steady(800, 1000))
    selected = made.select_at(910 * MS)
    assert (selected.stamp_ns, selected.image_stamps_ns) == (910 * MS, (960 * MS, 910 * MS))
    assert faults(made.select_at(965 * MS)) == [("fixed_1", Fault.MISSING)]


def test_an_image_from_a_wrong_clock_does_not_block_its_view():
    made = resampler({"fixed_1": [940, 10**9], "wrist": [950]}, steady(800, 1000))
    assert made.observe(1000 * MS, "").image_stamps_ns == (940 * MS, 950 * MS)
    made.push_joints(10**9 * MS, np.zeros(8))
    assert made.problems(1000 * MS) == ()


def test_a_clock_that_was_set_back_is_outlived():
    made = resampler({"fixed_1": [900_000], "wrist": [900_000]}, steady(899_000, 900_000))
    for stamp in range(1000, 2000, 10):
        made.push_joints(stamp * MS, joints_at(stamp * MS))
    for stamp in range(1000, 2000, 60):
        for view in VIEWS:
            made.push_image(view, stamp * MS, FakeImage(stamp * MS))
    assert made.observe(2000 * MS, "").stamp_ns == 1960 * MS
    made.clear()
    assert [fault for _, fault in faults(made.problems(2000 * MS))] == [Fault.MISSING] * 3


def test_only_used_images_are_decoded_and_only_once():
    made = Resampler(VIEWS, LIMITS)
    jpeg = simplejpeg.encode_jpeg(np.full((16, 24, 3), 200, np.uint8), quality=90)
    old, new, wrist = FakeImage(0), JpegImage(jpeg), FakeImage(0)
    made.push_image("fixed_1", 900 * MS, old)
    made.push_image("fixed_1", 950 * MS, new)
    made.push_image("wrist", 950 * MS, wrist)
    for stamp in steady(800, 1000):
        made.push_joints(stamp * MS, np.zeros(8))
    assert made.problems(1000 * MS) == ()
    assert wrist.decoded == 0
    first, second = made.observe(1000 * MS, ""), made.observe(1001 * MS, "")
    assert first.images[0] is second.images[0]
    assert first.images[0].shape == (16, 24, 3)
    assert old.decoded == 0


def test_a_damaged_image_is_a_problem():
    made = resampler({"wrist": [950]}, steady(800, 1000))
    made.push_image("fixed_1", 950 * MS, JpegImage(b"\xff\xd8 torn"))
    assert faults(made.observe(1000 * MS, "")) == [("fixed_1", Fault.DAMAGED)]


def test_ages():
    made = resampler({"fixed_1": [900, 950]}, [990])
    assert made.ages(1000 * MS) == {"fixed_1": 0.05, "wrist": None, JOINTS: 0.01}


def test_memory_is_bounded():
    made = resampler({view: range(10 * IMAGES_KEPT) for view in VIEWS}, range(3 * JOINTS_KEPT))
    assert len(made._joints) == JOINTS_KEPT
    assert all(len(recent) == IMAGES_KEPT for recent in made._images.values())


@pytest.mark.parametrize("sample", [np.zeros(7), np.full(8, np.nan), [0.0] * 7 + [np.inf]])
def test_a_joint_state_that_is_no_eight_numbers_is_refused(sample):
    with pytest.raises(ValueError, match="8 finite numbers"):
        Resampler(VIEWS, LIMITS).push_joints(0, sample)


def test_when_only_nonsense_comes_the_problem_names_it():
    made = resampler({view: [900, 1060] for view in VIEWS}, [900, 910])
    made.pass_over_joints("joint 4 at 1e+300 rad")
    assert isinstance(made.observe(1000 * MS, ""), Observation)  # what was believed is still recent
    said = ["joint_states: the last to arrive is not believed: joint 4 at 1e+300 rad"]
    assert [str(problem) for problem in made.problems(1080 * MS)] == said
    for stamp in (1055, 1070):
        made.push_joints(stamp * MS, joints_at(stamp * MS))
    assert made.problems(1080 * MS) == ()
    made.clear()
    made.pass_over_joints("joint 4 at 1e+300 rad")
    assert said[0] in [str(problem) for problem in made.problems(1080 * MS)]  # before any that is believed, too


# Properties over arbitrary patterns of stamps, in ms around now = 1000.
image_stamps = st.lists(st.integers(700, 1030), max_size=IMAGES_KEPT)
joint_stamps = st.lists(st.integers(700, 1030), max_size=60)


def as_data(result):
    if isinstance(result, tuple):
        return [str(problem) for problem in result]
    return (
        result.stamp_ns,
        result.image_stamps_ns,
        result.proprioception.tolist(),
        [i.tolist() for i in result.images],
    )


@given(fixed=image_stamps, wrist=image_stamps, joints=joint_stamps, data=st.data())
def test_neither_order_nor_repetition_matters(fixed, wrist, joints, data):
    in_order = resampler({"fixed_1": sorted(set(fixed)), "wrist": sorted(set(wrist))}, sorted(set(joints)))
    shuffled = resampler(
        {"fixed_1": data.draw(st.permutations(fixed)), "wrist": data.draw(st.permutations(wrist))},
        data.draw(st.permutations(joints + joints)),
    )
    assert as_data(shuffled.observe(1000 * MS, "")) == as_data(in_order.observe(1000 * MS, ""))


@given(fixed=image_stamps, wrist=image_stamps, joints=joint_stamps)
def test_an_observation_keeps_every_limit(fixed, wrist, joints):
    result = resampler({"fixed_1": fixed, "wrist": wrist}, joints).observe(1000 * MS, "")
    if not isinstance(result, Observation):
        assert len(result) > 0
        return
    known_until = max(stamp for stamp in joints if stamp <= 1010)
    newest = [max(stamp for stamp in stamps if stamp <= known_until) for stamps in (fixed, wrist)]
    t_obs = min(newest)
    assert result.stamp_ns == t_obs * MS
    assert result.image_stamps_ns == tuple(min(s for s in stamps if s >= t_obs) * MS for stamps in (fixed, wrist))
    assert 1000 - min(newest) <= 200
    assert max(result.image_stamps_ns) - result.stamp_ns <= 150 * MS
    # The motion is linear, so what was interpolated is exact.
    np.testing.assert_allclose(result.proprioception, joints_at(result.stamp_ns), atol=1e-9)


@given(fixed=image_stamps, wrist=image_stamps, joints=joint_stamps)
def test_problems_and_observe_agree(fixed, wrist, joints):
    made = resampler({"fixed_1": fixed, "wrist": wrist}, joints)
    assert isinstance(made.observe(1000 * MS, ""), Observation) == (made.problems(1000 * MS) == ())


@given(joints=joint_stamps.filter(bool), now=st.integers(1010, 1100))
def test_what_arrives_later_does_not_change_the_past(joints, now):
    """A bag read up to `now` and a live stream at `now` give the same, whatever else the bag holds."""
    images = {"fixed_1": [960], "wrist": [950]}
    live, bag = resampler(images, joints), resampler(images, joints)
    bag.push_image("wrist", (now + 20) * MS, FakeImage(0))
    bag.push_joints((now + 20) * MS, np.zeros(8))
    assert as_data(bag.observe(now * MS, "")) == as_data(live.observe(now * MS, ""))


# (interval to the stamp before, delay of arrival), ms
flow = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 90)), min_size=1, max_size=40)


def arrivals(name, samples):
    """(arrival, name, stamp) of one stream, in ms: delays vary, but nothing overtakes within a stream."""
    stamp = arrival = 0
    for interval, delay in samples:
        stamp += interval
        arrival = max(arrival, stamp + delay)
        yield arrival, name, stamp


def push(made, name, stamp):
    if name == JOINTS:
        made.push_joints(stamp * MS, joints_at(stamp * MS))
    else:
        made.push_image(name, stamp * MS, FakeImage(stamp * MS))


@given(fixed=flow, wrist=flow, joints=flow, period=st.integers(5, 100))
def test_when_samples_arrive_decides_t_obs_and_nothing_else(fixed, wrist, joints, period):
    """The live node's observation at each tick is the one that a whole recording gives at its t_obs."""
    arriving = sorted([*arrivals("fixed_1", fixed), *arrivals("wrist", wrist), *arrivals(JOINTS, joints)])
    recording = Resampler(VIEWS, LIMITS, images_kept=1000, joints_kept=1000)
    for _, name, stamp in arriving:
        push(recording, name, stamp)
    live, waiting = Resampler(VIEWS, LIMITS), list(arriving)
    for now in range(0, arriving[-1][0] + period, period):
        while waiting and waiting[0][0] <= now:
            push(live, *waiting.pop(0)[1:])
        observed = live.observe(now * MS, "")
        if isinstance(observed, Observation):
            assert as_data(recording.select_at(observed.stamp_ns).decode("")) == as_data(observed)


def test_threads_may_push_while_another_observes():
    made = resampler({view: [1000] for view in VIEWS}, steady(900, 1000))
    done = threading.Event()

    def push():
        for stamp in range(1000, 5000):
            made.push_joints(stamp * MS, joints_at(stamp * MS))
            made.push_image(VIEWS[stamp % 2], stamp * MS, FakeImage(stamp * MS))
        done.set()

    pusher = threading.Thread(target=push)
    pusher.start()
    while not done.is_set():
        newest = made.ages(5000 * MS)[JOINTS]
        result = made.observe(round(5000 * MS - newest * 1e9), "")
        if isinstance(result, Observation):
            assert np.abs(result.proprioception - joints_at(result.stamp_ns)).max() < 0.031
    pusher.join()
    assert made.problems(5000 * MS) == ()


def test_proprioception_of_a_joint_state():
    names = [*reversed(SIM.arm.joint_names), "fr3_finger_joint1", "camera_tilt"]
    vector = proprioception(SIM, names, [7, 6, 5, 4, 3, 2, 1, 0.02, 9])
    assert vector.tolist() == [1, 2, 3, 4, 5, 6, 7, 0.04]
    with pytest.raises(ValueError, match="fr3_joint4"):
        proprioception(SIM, [name for name in names if name != "fr3_joint4"], [0.0] * 8)


NAMES = SIM.joint_state_names


def standing(**changed):
    """Positions of NAMES: at home with the hand half open, but for those given."""
    return list((dict(zip(NAMES, [*SIM.arm.home, 0.02], strict=True)) | changed).values())


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"fr3_joint4": 1e300}, Disbelief.OUT_OF_RANGE, "fr3_joint4 at 1e+300 rad, allowed -3.248 to 0.0542"),
        ({"fr3_joint4": 0.06}, Disbelief.OUT_OF_RANGE, "fr3_joint4 at 0.06 rad, allowed -3.248 to 0.0542"),
        ({"fr3_joint6": 0.34}, Disbelief.OUT_OF_RANGE, "fr3_joint6 at 0.34 rad, allowed 0.3409 to 4.72"),
        ({"fr3_joint2": np.nan}, Disbelief.NOT_FINITE, "fr3_joint2 at nan rad, allowed -1.992 to 1.992"),
        ({"fr3_joint1": -np.inf}, Disbelief.NOT_FINITE, "fr3_joint1 at -inf rad, allowed -2.95 to 2.95"),
        ({"fr3_finger_joint1": 5.0}, Disbelief.OUT_OF_RANGE, "(opening) at 10 m, allowed -0.005 to 0.09"),
        ({"fr3_finger_joint1": -0.003}, Disbelief.OUT_OF_RANGE, "(opening) at -0.006 m, allowed -0.005 to 0.09"),
    ],
)
def test_a_joint_state_that_the_robot_cannot_be_in_is_not_believed(changed, kind, said):
    with pytest.raises(JointStateError) as caught:
        JointStates(SIM).believed(NAMES, standing(**changed))
    assert caught.value.kind is kind
    assert said in str(caught.value)


def test_a_joint_state_without_a_joint_is_not_believed():
    with pytest.raises(JointStateError, match="joint 'fr3_finger_joint1' is missing") as caught:
        JointStates(SIM).believed(NAMES[:7], SIM.arm.home)
    assert caught.value.kind is Disbelief.MISSING


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"fr3_joint4": 0.05, "fr3_joint1": -2.9},  # guided against its stops, well beyond the cell's limits
        {"fr3_finger_joint1": 0.045},
        {"fr3_finger_joint1": -0.0025},
    ],
)
def test_a_joint_state_at_the_robots_limits_is_believed(changed):
    sample = JointStates(SIM).believed(NAMES, standing(**changed))
    assert sample.tolist() == proprioception(SIM, NAMES, standing(**changed)).tolist()


def test_tight_limits_of_a_cell_do_not_narrow_what_is_believed_and_wide_ones_widen_it():
    home, limits = np.array(SIM.arm.home), SIM.arm.limits

    def cell(lower, upper):
        changed = limits.model_copy(update={"lower": list(lower), "upper": list(upper)})
        return SIM.model_copy(update={"arm": SIM.arm.model_copy(update={"limits": changed})})

    tight, wide = JointStates(cell(home - 0.1, home + 0.1)), JointStates(cell([-4.0] * 7, [4.0] * 7))
    assert tight.believed(NAMES, standing(fr3_joint1=2.9))[0] == 2.9
    assert wide.believed(NAMES, standing(fr3_joint1=4.1))[0] == 4.1
    with pytest.raises(JointStateError):
        tight.believed(NAMES, standing(fr3_joint1=4.1))


def test_the_robot_computer_needs_neither_torch_nor_rclpy():
    code = "import sys; sys.modules['torch'] = sys.modules['rclpy'] = None; import vga_policy.observation.resampler"
    subprocess.run([sys.executable, "-c", code], check=True)
