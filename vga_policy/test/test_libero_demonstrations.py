"""Demonstrations: made by the expert, written in LIBERO's layout, rendered again; LIBERO's own files; broken ones."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from libero_worlds import SIZE, Here, settled, world_of
from vga_policy.checkpoints import locate
from vga_policy.checkpoints.checkpoint import digest
from vga_policy.dataset.opening import open_dataset
from vga_policy.dataset.origins import Origin
from vga_policy.dataset.shards import ABOUT
from vga_policy.libero import collecting, rendering
from vga_policy.libero.actors import actors
from vga_policy.libero.collecting import EXPERT, Order, draw_scene, record, seed_of
from vga_policy.libero.demonstrations import DemonstrationFile, DemonstrationWriter, demonstration_files
from vga_policy.libero.embodiment import LIBERO
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.evaluation import LiberoConditions
from vga_policy.libero.rendering import Rendering
from vga_policy.libero.tasks import tasks

from vga_policy import cli

TASK = "pick_up_the_cream_cheese_and_place_it_in_the_basket"


@pytest.fixture(scope="module")
def demonstration():
    """The first attempt of a seed at which the expert succeeds."""
    world = world_of("libero_object", 1)
    return next(filter(None, (record(world, seed_of(world.task, 0, attempt)) for attempt in range(5))))


@pytest.fixture(scope="module")
def end(demonstration):
    """Its last ten steps: drawing them all would take long."""
    seen = {name: values[-10:] for name, values in demonstration.observations.items()}
    return replace(
        demonstration, states=demonstration.states[-10:], actions=demonstration.actions[-10:], observations=seen
    )


@pytest.fixture
def collected(tmp_path, end):
    """A file with that, after a failure."""
    recording = DemonstrationWriter(tmp_path / "collected", tasks("libero_object")[1], EXPERT, 0)
    recording.add(None)
    recording.add(end)
    return recording.path


@pytest.fixture(autouse=True)
def shared_worlds(monkeypatch):
    """Files are rendered in the worlds that are there already."""
    worlds = {"close": lambda: None}

    def world(task, size):
        found = world_of(task.suite, task.index)
        monkeypatch.setattr(found, "close", worlds["close"], raising=False)
        return found

    monkeypatch.setattr(rendering, "World", world)


def rendered(path, out, **how):
    """What is told, and what training would read: every sample of every suite's directory, in one."""
    made, problems = rendering.render_file(path, Rendering(out, SIZE, **how))
    suites = [about.parent for about in out.rglob(ABOUT)] if made else []
    data = [open_dataset([suite], SIZE, geometry=True) for suite in suites]
    return len(made), problems, data


def column(data, name):
    """What all samples have of this name."""
    return np.stack([np.asarray(data[index][name]) for index in range(len(data))])


def test_a_demonstration_begins_in_no_state_of_the_evaluation(demonstration):
    world = world_of("libero_object", 1)
    evaluation = world.task.initial_states()
    starts = [demonstration.states[0]]
    for attempt in range(10):
        draw_scene(world, seed_of(world.task, 0, attempt))
        starts.append(world.state())
    positions = slice(1, 1 + world.model.nq)
    apart = [np.abs(evaluation[:, positions] - start[positions]).max(1).min() for start in starts]
    assert min(apart) > collecting.APART
    assert len({tuple(start) for start in starts}) == len(starts)


def test_a_scene_that_is_an_evaluations_is_drawn_again(monkeypatch):
    world = settled("libero_object", 1)
    draw_scene(world, 3)
    same = world.state()
    states = world.task.initial_states()
    states[7] = same
    monkeypatch.setattr(type(world.task), "initial_states", lambda _: states)
    draw_scene(world, 3)
    assert np.abs(world.state() - same).max() > collecting.APART


def test_demonstrations_differ_and_can_be_repeated(demonstration):
    world = world_of("libero_object", 1)
    again = record(world, demonstration.notes["seed"])
    assert np.array_equal(again.actions, demonstration.actions)
    other = record(world, 1 + demonstration.notes["seed"])
    assert other is None or other.actions.shape != again.actions.shape or not np.allclose(other.actions, again.actions)


def test_the_expert_acts_within_what_people_did(demonstration):
    largest = np.abs(demonstration.actions).max(axis=0)
    assert (largest[:3] <= 0.9375).all()
    assert (largest[3:6] <= 0.375 + 1e-9).all()
    assert set(np.unique(demonstration.actions[:, 6])) == {-1.0, 1.0}
    assert 60 <= len(demonstration.actions) <= 280


def test_the_expert_takes_over_from_a_policy():
    """From one that moves nothing, here; a demonstration then begins when it had its steps."""
    world = world_of("libero_object", 1)
    still = actors(LiberoConditions("zero"))
    taken = next(filter(None, (record(world, seed_of(world.task, 1, attempt), still) for attempt in range(5))))
    before = taken.notes["policy_steps"]
    assert 1 <= before < 140
    assert taken.states[0, 0] == pytest.approx((10 + before) / 20)  # s, after 10 steps of settling
    assert taken.actions[:20, -1].tolist() == [-1.0] * 20


def test_what_a_policy_has_done_needs_no_expert(monkeypatch):
    world = world_of("libero_object", 1)
    monkeypatch.setattr(collecting, "drive", lambda *_: (True, 90))
    assert record(world, seed_of(world.task, 0, 0), actors(LiberoConditions("zero"))) is None


def test_corrections_are_not_mixed_with_demonstrations(collected):
    """Nor with those of a policy of other weights."""
    order = Order(tasks("libero_object")[1], 2, 0, collected.parents[1], "libero_object")
    (problem,) = collecting.collect([order], 1, lambda _: None)
    assert problem == f"libero_object/1: {collected}: was made by {EXPERT}; choose another --out"
    assert order.made_by == f"{EXPERT}, which took over from the policy of weights {digest(locate('libero_object'))}"


def test_a_policy_begins_in_scenes_that_it_was_not_trained_on():
    task = tasks("libero_object")[1]
    seeds = {seed_of(task, 0, attempt, begun=begun) for attempt in range(50) for begun in (False, True)}
    assert len(seeds) == 100


def test_what_the_expert_took_over_is_known_as_a_correction(end, tmp_path):
    """In training too, which can show corrections more often."""
    recording = DemonstrationWriter(tmp_path / "corrections", tasks("libero_object")[1], "somebody", 0)
    recording.add(end)
    recording.add(replace(end, notes={"policy_steps": 9}))
    _, _, [data] = rendered(recording.path, tmp_path / "out", every=9)
    assert data.samples.origins.tolist() == [Origin.DEMONSTRATION] * 2 + [Origin.INTERVENTION] * 2


def test_the_file_has_libero_s_layout(collected, end):
    with h5py.File(collected) as file:
        data = file["data"]
        assert json.loads(data.attrs["problem_info"])["language_instruction"].startswith("pick up the cream cheese")
        assert (data.attrs["num_demos"], data.attrs["attempts"]) == (1, 2)
        demo = data["demo_0"]
        steps = len(end.actions)
        assert demo["states"].shape == (steps, 110)
        assert demo["robot_states"].shape == (steps, 9)
        assert demo["obs/ee_states"].shape == (steps, 6)
        assert demo["dones"][-1] == 1
        assert demo["dones"][:-1].sum() == 0
        assert demo.attrs["num_samples"] == steps


def test_collecting_goes_on_where_it_stopped(collected, end):
    recording = DemonstrationWriter(collected.parents[1], tasks("libero_object")[1], EXPERT, 0)
    assert (recording.count, recording.attempts) == (1, 2)
    recording.add(end)
    with DemonstrationFile(collected) as file:
        assert file.names == ["demo_0", "demo_1"]
        assert np.array_equal(file.read("demo_1").states, end.states)


def test_another_seed_is_not_mixed_with_what_is_there(collected):
    with pytest.raises(LiberoError, match=r"was begun with --seed 0, not 1; choose another --out"):
        DemonstrationWriter(collected.parents[1], tasks("libero_object")[1], EXPERT, 1)
    with h5py.File(collected, "a") as file:
        del file["data"].attrs["seed"]  # as older files
    assert DemonstrationWriter(collected.parents[1], tasks("libero_object")[1], EXPERT, 1).count == 1


def test_what_was_measured_does_not_matter_and_a_demonstration_without_motion_is_left_out(collected, end, tmp_path):
    with h5py.File(collected, "a") as file:
        del file["data/demo_0/obs"]
        file["data/demo_0/obs/odd"] = 3.0
        file["data/demo_0/obs/nested/odd"] = np.zeros(2)
        still = file.copy("data/demo_0", "data/demo_1") or file["data/demo_1"]
        still["actions"][:, :6] = 0.0
        still["actions"][:, 6] = -1.0
        still["states"][:] = still["states"][-1]
    made, [problem], [_] = rendered(collected, tmp_path / "out")
    assert made == 1
    assert problem.endswith("demo_1: nothing happens in any step: left out")


def test_libero_s_own_file_gives_the_same_samples(collected, end, tmp_path):
    """Theirs has no-ops, pictures of the step after, and says what it is of inside only."""
    theirs = tmp_path / "theirs" / "renamed_demo.hdf5"
    theirs.parent.mkdir()
    pause = np.zeros((3, 7))
    pause[:, 6] = end.actions[5, 6]
    actions = np.insert(end.actions, [6, 6, 6], pause, axis=0)
    states = np.insert(end.states, [6, 6, 6], end.states[6], axis=0)
    with h5py.File(collected) as ours, h5py.File(theirs, "w") as file:
        data = file.create_group("data")
        data.attrs["bddl_file_name"] = f"chiliocosm/bddl_files/libero_object/{TASK}.bddl"
        demo = data.create_group("demo_0")
        demo.attrs["model_file"] = ours["data/demo_0"].attrs["model_file"]
        demo["actions"], demo["states"] = actions, states
        demo["obs/agentview_rgb"] = np.zeros((len(actions), 128, 128, 3), np.uint8)
    made, problems, [one] = rendered(collected, tmp_path / "a")
    assert (made, problems) == (1, [])
    made, problems, [other] = rendered(theirs, tmp_path / "b")
    assert (made, problems) == (1, [])
    kept = np.linalg.norm(end.actions[:, :6], axis=1) >= 1e-4
    assert len(one) >= kept.sum()
    for name in ("images", "depth", "intrinsics", "extrinsics", "proprioception", "actions", "keyframe"):
        assert np.array_equal(column(one, name), column(other, name)), name
    assert one.instructions == ["pick up the cream cheese and place it in the basket"]
    assert one.embodiment == LIBERO
    assert column(one, "images").shape == (len(one), 2, 3, SIZE, SIZE)


def test_what_is_rendered_is_what_was_seen(collected, end, tmp_path):
    _, _, [data] = rendered(collected, tmp_path / "out", keep_no_ops=True)
    assert np.allclose(column(data, "proprioception")[:, :3], end.observations["ee_pos"], atol=1e-6)
    assert np.array_equal(column(data, "actions")[:, 0], end.actions.astype(np.float32))
    world = world_of("libero_object", 1)
    world.set_fixtures(end.fixtures())
    world.start(end.states[-1])
    views = world.views()
    last = data[len(data) - 1]
    images = np.asarray(last["images"]).transpose(0, 2, 3, 1)
    assert np.abs(images.astype(int) - views.images).mean() < 3  # JPEG
    assert np.abs(np.asarray(last["depth"]) - views.depth).max() <= 0.0006
    assert np.allclose(last["intrinsics"], views.intrinsics)
    assert np.allclose(last["extrinsics"], views.extrinsics)


def test_one_step_of_several_can_be_rendered(collected, tmp_path):
    _, _, [every] = rendered(collected, tmp_path / "every")
    _, _, [some] = rendered(collected, tmp_path / "some", every=3)
    assert len(some) == -(-len(every) // 3)
    for name in ("images", "depth", "extrinsics", "proprioception", "actions", "keyframe", "stamp_ns"):
        assert np.array_equal(column(some, name), column(every, name)[::3]), name


def test_what_is_rendered_is_not_rendered_again(collected, end, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert rendered(collected, out)[:2] == (1, [])
    monkeypatch.setattr(rendering, "render", lambda *_: pytest.fail("rendered again"))
    assert rendered(collected, out)[:2] == (1, [])
    made, [problem], _ = rendered(collected, out, mirrored=True)
    assert made == 0
    assert "mirrored: True here, False there; write into another directory" in problem
    assert "has every 1, not 2: choose another --out" in rendered(collected, out, every=2)[1][0]
    with h5py.File(collected, "a") as changed:
        changed["data/demo_0/actions"][0, 0] += 0.125
    assert re.search(r"has source \w+, not \w+: choose another --out", rendered(collected, out)[1][0])


def test_what_was_damaged_is_rendered_again(collected, tmp_path):
    _, _, [before] = rendered(collected, tmp_path / "out")
    images = column(before, "images")
    [file] = (tmp_path / "out").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    made, problems, [after] = rendered(collected, tmp_path / "out")
    assert (made, problems) == (1, [])
    assert np.array_equal(column(after, "images"), images)


def test_without_graphics_nothing_is_tried(collected, tmp_path, monkeypatch, capsys):
    class Absent:
        def __init__(self, *_):
            raise RuntimeError("Cannot initialize a EGL device display.\nThis may be a driver's fault.")

    monkeypatch.setattr("mujoco.egl.GLContext", Absent)
    assert cli.main(["libero", "import", str(collected), "--out", str(tmp_path / "out")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "vga libero import: pictures cannot be rendered: no EGL (Cannot initialize a EGL device display.): apt-get"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["libero", "collect"], ["libero", "import", "x"], ["eval", "libero", "--oracle"]])
def test_other_graphics_are_refused_before_the_simulator_fails(command, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert cli.main(command) == 1
    said = "MUJOCO_GL is osmesa, and must be egl or unset: LIBERO is drawn with EGL\n"
    assert capsys.readouterr().err.endswith(said)


def spoiled(shape, value, odd):
    """An array with one odd value at [2, 3]."""
    values = np.full(shape, value)
    values[2, 3] = odd
    return values


def body(attributes):
    return f'<mujoco><worldbody><body name="basket" {attributes}/></worldbody></mujoco>'


def write(path, change=None, **parts):
    """A file of one demonstration, with some part of it replaced or left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    states = np.tile(world_of("libero_object", 1).state(), (4, 1))
    parts = {"states": states, "actions": np.full((4, 7), 0.5), "model_file": "<mujoco/>", **parts}
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        for name, value in parts.items():
            if name == "model_file" and value is not None:
                demo.attrs[name] = np.bytes_(value) if isinstance(value, bytes) else value
            elif value is not None:
                demo[name] = value
    if change is not None:
        path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"change": lambda data: data[: len(data) // 2]}, r"cannot be read as HDF5 \(.*\): copy it again"),
        ({"change": lambda data: b"GIF89a"}, r"cannot be read as HDF5 \(.*\): copy it again"),
        ({"actions": np.zeros((4, 8))}, r"demo_0: actions \[4, 8\], LIBERO's are \[T, 7\]"),
        ({"actions": np.zeros((3, 7))}, r"demo_0: \[4, \d+\] states for 3 actions"),
        ({"actions": spoiled((4, 7), 0.5, np.nan)}, r"demo_0: actions\[2, 3\] is nan, and must be finite"),
        ({"actions": spoiled((4, 7), 0.5, -3.0)}, r"demo_0: actions\[2, 3\] is -3, LIBERO's are -1 … 1"),
        ({"actions": np.ones((4, 7), complex)}, "demo_0: `actions` is of complex128, and must be real numbers"),
        ({"states": spoiled((4, 110), 0.0, 30.0)}, r"demo_0: states\[2\]: joint robot0_joint3 is at 30, and goes from"),
        ({"actions": "text"}, "demo_0: `actions` is of object, and must be real numbers"),
        ({"states": None}, "demo_0: no `states`: a demonstration is rendered again from"),
        ({"states": np.zeros((4, 77))}, r"demo_0: a state of libero_object/1 has 110 numbers, not \(77,\)"),
        ({"model_file": None}, "demo_0: no `model_file`: without it nobody knows where the fixtures stood"),
        ({"model_file": "<mujoco"}, "demo_0: model_file is no MJCF"),
        ({"model_file": b"\xff\xfe<a/>"}, "demo_0: damaged .*can't decode"),
        ({"model_file": body('pos="nan 0 0"')}, "demo_0: .*pos of body basket: 'nan 0 0' says nothing"),
        ({"model_file": body('quat="0 0 0 0"')}, "demo_0: .*quat of body basket: '0 0 0 0' says nothing"),
        ({"model_file": body('pos="0 100 0"')}, "demo_0: .*pos of body basket: '0 100 0' is more than 10 m away"),
        ({}, "demo_0: does not end with the task done: left out"),
    ],
)
def test_a_bad_file_is_told_in_one_line(parts, message, tmp_path):
    settled("libero_object", 1)
    path = write(tmp_path / f"{TASK}_demo.hdf5", **parts)
    made, problems, _ = rendered(path, tmp_path / "out")
    assert made == 0
    assert len(problems) == 1
    assert "\n" not in problems[0]
    assert re.match(f"{re.escape(str(path))}(: |, ){message}", problems[0]), problems[0]


def test_a_file_of_no_known_task_is_refused(tmp_path):
    path = write(tmp_path / "juggle_demo.hdf5")
    assert rendered(path, tmp_path / "out")[1] == [
        f"{path}: 'juggle' is in none of libero_spatial, libero_object, libero_goal, libero_10"
    ]
    with h5py.File(tmp_path / "other_demo.hdf5", "w") as file:
        file["pictures"] = np.zeros(3)
    [problem] = rendered(tmp_path / "other_demo.hdf5", tmp_path / "out")[1]
    assert problem.endswith("no group `data`: this is no file of LIBERO's demonstrations")


def test_a_file_without_demonstrations_is_told(tmp_path):
    path = tmp_path / f"{TASK}_demo.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("data/episode_0")
    [problem] = rendered(path, tmp_path / "out")[1]
    assert problem == f"{path}: no demonstration `demo_0`, `demo_1` … in `data`, which holds episode_0"


def test_a_file_that_is_named_as_another_task_is_refused(collected, tmp_path):
    renamed = collected.rename(collected.with_name("turn_on_the_stove_demo.hdf5"))
    [problem] = rendered(renamed, tmp_path / "out")[1]
    assert problem == (
        f"{renamed}: is named as a file of libero_goal/7, and says in `bddl_file_name` that it is of libero_object/1, "
        f"{TASK}: rename it"
    )


def test_a_file_given_twice_is_rendered_once_and_a_copy_is_told(collected, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "worker_pool", Here)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(collected, tmp_path / "elsewhere" / collected.name)
    files, lines = list(demonstration_files([collected, collected.parent, Path(copy)])), []
    assert files == [collected, Path(copy)]
    assert rendering.render_files(files, Rendering(tmp_path / "out", SIZE), 1, lines.append) == (1, [])
    assert lines[1].endswith("1 demonstrations, 1 of them known, 0 left out")


def test_other_words_than_the_benchmarks_are_told_and_not_learned(collected, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "worker_pool", Here)
    official = "pick up the cream cheese and place it in the basket"
    for words in ("take the cheese", [*official.title().split(" ")]):
        with h5py.File(collected, "a") as file:
            file["data"].attrs["problem_info"] = json.dumps({"language_instruction": words})
        lines = []
        assert rendering.render_files([collected], Rendering(tmp_path / "out", SIZE), 1, lines.append) == (1, [])
        told = f"{collected}: says 'take the cheese'; the benchmark's {official!r} is taken instead"
        assert lines[1:] == ([told] if words == "take the cheese" else [])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data.move("demo_0", "demo_4"), "its demonstrations are not demo_0, demo_1 and so on"),
        (lambda data: data.attrs.__delitem__("attempts"), "no 'attempts'"),
        (lambda data: data.attrs.__setitem__("attempts", 0), "0 attempts for 1 demonstrations"),
        (lambda data: data.attrs.__setitem__("attempts", "x"), "invalid literal .*'x'"),
        (lambda data: data["demo_0"].attrs.__delitem__("num_samples"), "no .*num_samples.*"),
    ],
)
def test_collecting_into_a_file_that_somebody_changed_is_refused(collected, spoil, why):
    with h5py.File(collected, "a") as file:
        spoil(file["data"])
    with pytest.raises(LiberoError, match=rf"cannot be gone on with \({why}\): move it away, or choose another --out"):
        DemonstrationWriter(collected.parents[1], tasks("libero_object")[1], EXPERT, 0)


def test_a_file_that_is_damaged_inside_leaves_the_others(collected, tmp_path, monkeypatch):
    """h5py has many errors for that."""

    def damaged(_):
        raise RuntimeError("unable to get group info (wrong B-tree signature)")

    monkeypatch.setattr(DemonstrationFile, "_task", damaged)
    made, problems = rendering.render_file(collected, Rendering(tmp_path / "out", SIZE))
    assert made == []
    assert problems == [f"{collected}: damaged (unable to get group info (wrong B-tree signature)): copy it again"]


def test_one_bad_demonstration_leaves_the_others(collected, end, tmp_path):
    with h5py.File(collected, "a") as file:
        file["data"].copy("demo_0", "demo_1")
        del file["data/demo_0/states"]
    made, problems, [data] = rendered(collected, tmp_path / "out")
    assert made == len(data.episodes) == 1
    assert len(problems) == 1
    assert "demo_0: no `states`" in problems[0]


def test_a_file_that_cannot_be_rendered_leaves_the_others(collected, tmp_path, monkeypatch):
    """Nor does a full disk end more than one file's turn, or a fault that nobody thought of."""
    monkeypatch.setattr(rendering, "worker_pool", Here)
    files, how = [tmp_path / "absent_demo.hdf5", collected], Rendering(tmp_path / "out", SIZE)
    for fault, told in (
        (OSError(28, "No space"), f"{collected}: the rest of it cannot be written to {how.out} ([Errno 28] No space)"),
        (ZeroDivisionError("a fault of ours"), f"{collected}, demo_0: ZeroDivisionError: a fault of ours"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(rendering, "write_demonstration", Mock(side_effect=fault))
            assert rendering.render_files(files, how, 2, lambda _: None) == (
                0,
                [f"{files[0]}: there is no such file", told],
            )
    assert rendering.render_files(files, how, 2, lambda _: None)[0] == 1


def test_a_book_goes_into_its_compartment_at_the_first_try():
    """It has 9 mm to spare at either end.

    The last test here: MuJoCo writes only the model that was built last, which the others' then is not.
    """
    world = world_of("libero_10", 5)
    demonstration = record(world, seed_of(world.task, 0, 2))
    assert demonstration is not None
    assert len(demonstration.actions) < 160
