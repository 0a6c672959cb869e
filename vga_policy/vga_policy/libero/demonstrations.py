"""Demonstrations in LIBERO's own HDF5 layout: one file a task, with the state of the simulation before each action.

The states are the master from which everything else is made again. They do not hold the poses of fixtures, which a
scene's `model_file` does. Official files also hold pictures: of 128 pixels, upside down, and one step late.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray

from vga_policy.files import whole_file
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.tasks import SUITES, LiberoTask, task_named
from vga_policy.libero.world import ACTION, Vector

SUFFIX = "_demo.hdf5"
POLICY_STEPS = "policy_steps"  # note of a correction: after how many steps of a policy it begins
DAMAGED = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError)  # what h5py raises then
ROUNDING = 1e-6  # by which an action may be beyond full deflection
FAR = 10.0  # m from where it is attached that nothing of a scene is
NO_OP = 1e-4  # norm of translation and turn below which a step does nothing, as OpenVLA has it


@dataclass(frozen=True)
class LiberoDemonstration:
    """One demonstration. states [T, D]: before each action; actions [T, 7]; model_file: the scene's MJCF.

    observations: what is measured before each action, by its name in the layout. notes: further attributes.
    """

    name: str
    states: Vector
    actions: Vector
    model_file: str
    observations: Mapping[str, Vector] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def fixtures(self) -> dict[str, Vector]:
        """Position and quaternion (wxyz) [7] of each body of the scene that says where it is. Raises LiberoError."""
        try:
            bodies = ElementTree.fromstring(self.model_file).iter("body")
            return {
                str(body.get("name")): np.concatenate(
                    [_numbers(body, "pos", "0 0 0"), _numbers(body, "quat", "1 0 0 0")]
                )
                for body in bodies
            }
        except (ElementTree.ParseError, ValueError) as error:
            raise LiberoError(f"model_file is no MJCF ({error})") from None

    def without_no_ops(self) -> LiberoDemonstration:
        """The steps in which something happens: the hand moves, or the fingers are told something else.

        Raises LiberoError where there is none.
        """
        kept: list[int] = []
        for step, action in enumerate(self.actions):
            told = not kept or action[-1] == self.actions[kept[-1], -1]
            if np.linalg.norm(action[:-1]) >= NO_OP or not told:
                kept.append(step)
        if not kept:
            raise LiberoError("nothing happens in any step: left out")
        observations = {name: values[kept] for name, values in self.observations.items()}
        return LiberoDemonstration(
            self.name, self.states[kept], self.actions[kept], self.model_file, observations, self.notes
        )


class DemonstrationFile:
    """An HDF5 file of one task."""

    def __init__(self, path: Path) -> None:
        """Raises LiberoError when it is none, or of no known task."""
        self.path = path
        if not path.is_file():
            raise LiberoError(f"{path}: {'is no file' if path.exists() else 'there is no such file'}")
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise LiberoError(f"{path}: cannot be read as HDF5 ({str(error).splitlines()[0]}): copy it again") from None
        try:
            if not isinstance(self._file.get("data"), h5py.Group):
                raise LiberoError(f"{path}: no group `data`: this is no file of LIBERO's demonstrations")
            self.attributes = dict(self._file["data"].attrs)
            self.task = self._task()
            found = (name for name in self._file["data"] if name.startswith("demo_"))
            self.names = sorted(found, key=lambda name: (len(name), name))
            if not self.names:
                held = ", ".join(list(self._file["data"])[:3]) or "nothing"
                raise LiberoError(f"{path}: no demonstration `demo_0`, `demo_1` … in `data`, which holds {held}")
        except DAMAGED as error:
            self._file.close()
            raise LiberoError(f"{path}: damaged ({str(error).splitlines()[0]}): copy it again") from None
        except LiberoError:
            self._file.close()
            raise

    def __enter__(self) -> DemonstrationFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str) -> LiberoDemonstration:
        """One demonstration, without what was measured. Raises LiberoError, which names file, demonstration, fault."""
        try:
            group = self._file["data"][name]
            missing = [part for part in ("states", "actions") if part not in group]
            if missing:
                raise LiberoError(f"no `{missing[0]}`: a demonstration is rendered again from its states and actions")
            if odd := [part for part in ("states", "actions") if group[part].dtype.kind not in "fiu"]:
                raise LiberoError(f"`{odd[0]}` is of {group[odd[0]].dtype}, and must be real numbers")
            if "model_file" not in group.attrs:
                raise LiberoError("no `model_file`: without it nobody knows where the fixtures stood")
            states, actions = (np.asarray(group[part][()], dtype=np.float64) for part in ("states", "actions"))
            model_file = group.attrs["model_file"]
            text = model_file.decode() if isinstance(model_file, bytes) else str(model_file)
            notes = {key: value for key, value in group.attrs.items() if key not in ("model_file", "init_state")}
        except DAMAGED as error:
            raise LiberoError(f"{self.path}, {name}: damaged ({str(error).splitlines()[0]}): copy it again") from None
        except LiberoError as error:
            raise LiberoError(f"{self.path}, {name}: {error}") from None
        if actions.ndim != 2 or actions.shape[1] != ACTION:
            raise LiberoError(f"{self.path}, {name}: actions {list(actions.shape)}, LIBERO's are [T, {ACTION}]")
        if states.ndim != 2 or len(states) != len(actions) or not len(states):
            raise LiberoError(f"{self.path}, {name}: {list(states.shape)} states for {len(actions)} actions")
        for part, values in (("states", states), ("actions", actions)):
            if (at := _first(~np.isfinite(values))) is not None:
                raise LiberoError(f"{self.path}, {name}: {_named(part, values, at)}, and must be finite")
        if (at := _first(np.abs(actions) > 1 + ROUNDING)) is not None:
            raise LiberoError(
                f"{self.path}, {name}: {_named('actions', actions, at)}, LIBERO's are -1 … 1; its simulator "
                "would clip it: clip it too if that was meant"
            )
        return LiberoDemonstration(name, states, actions, text, notes=notes)

    def steps(self) -> int:
        """Of all demonstrations, as they say themselves. Raises KeyError."""
        return _steps(self._file["data"])

    def other_instruction(self) -> str | None:
        """What the file says that people were told, where that is not what the benchmark tells a policy."""
        try:
            said = json.loads(str(self.attributes["problem_info"]))["language_instruction"]
        except (KeyError, TypeError, ValueError):
            return None
        said = said if isinstance(said, str) else " ".join(map(str, said))
        alike, ours = ("".join(text.lower().split()) for text in (said, self.task.instruction))
        return None if alike == ours else said

    def _task(self) -> LiberoTask:
        """By the file's name, else by that of the task description that it holds."""
        described = Path(str(self.attributes.get("bddl_file_name", ""))).stem
        known = []
        for name in (self.path.name.removesuffix(SUFFIX), described):
            with suppress(LiberoError):
                known.append(task_named(name))
        if len(set(known)) == 2:
            raise LiberoError(
                f"{self.path}: is named as a file of {known[0].label}, and says in `bddl_file_name` that it is of "
                f"{known[1].label}, {known[1].name}: rename it"
            )
        if known:
            return known[0]
        also = f", nor is {described!r}, which it says it is of" if described else ""
        raise LiberoError(
            f"{self.path}: {self.path.name.removesuffix(SUFFIX)!r} is in none of {', '.join(SUITES)}{also}"
        )


class DemonstrationWriter:
    """The file that demonstrations of one task are added to. After each it is whole, whatever happens."""

    def __init__(self, directory: Path, task: LiberoTask, made_by: str, seed: int) -> None:
        """directory: of all suites. made_by: in words. seed: of all attempts.

        Raises LiberoError when what is there is not gone on with.
        """
        self.task, self.path = task, directory / task.suite / f"{task.name}{SUFFIX}"
        self.made_by, self.seed = made_by, seed
        self.count = self.attempts = 0
        if self.path.exists():
            with DemonstrationFile(self.path) as file:
                theirs = str(file.attributes.get("made_by", "somebody else"))
                if theirs != made_by:
                    raise LiberoError(f"{self.path}: was made by {theirs}; choose another --out")
                self.count, self.attempts, sown = self._begun(file)
            if sown != seed:
                raise LiberoError(f"{self.path}: was begun with --seed {sown}, not {seed}; choose another --out")

    def _begun(self, file: DemonstrationFile) -> tuple[int, int, int]:
        """What a file says of itself: demonstrations, attempts, seed. Raises LiberoError when it cannot be added to."""
        said = file.attributes
        try:
            attempts, seed = int(said["attempts"]), int(said.get("seed", self.seed))  # older files say no seed
            if file.names != [f"demo_{number}" for number in range(len(file.names))]:
                raise ValueError("its demonstrations are not demo_0, demo_1 and so on")
            if attempts < len(file.names):
                raise ValueError(f"{attempts} attempts for {len(file.names)} demonstrations")
            file.steps()
        except (KeyError, TypeError, ValueError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else error
            raise LiberoError(
                f"{self.path}: cannot be gone on with ({why}): move it away, or choose another --out"
            ) from None
        return len(file.names), attempts, seed

    def add(self, demonstration: LiberoDemonstration | None) -> None:
        """Another attempt: a demonstration, or None for a failure."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as unfinished:
            if there := self.path.exists():
                shutil.copyfile(self.path, unfinished)
            with h5py.File(unfinished, "a" if there else "w") as file:
                data = file.require_group("data")
                self.attempts += 1
                if demonstration is not None:
                    _write(data.create_group(f"demo_{self.count}"), demonstration)
                    self.count += 1
                self._describe(data)

    def _describe(self, data: h5py.Group) -> None:
        words = {"domain_name": "robosuite", "language_instruction": self.task.instruction}
        data.attrs.update(
            env_name="Libero",
            problem_info=json.dumps({"problem_name": "libero", **words}),
            bddl_file_name=f"{self.task.suite}/{self.task.bddl.name}",
            bddl_file_content=self.task.bddl.read_text(encoding="utf-8"),
            env_args=json.dumps({"env_name": "Libero", "env_kwargs": {"controller": "OSC_POSE", "control_freq": 20}}),
            macros_image_convention="opengl",
            num_demos=self.count,
            total=_steps(data),
            attempts=self.attempts,
            seed=self.seed,
            made_by=self.made_by,
        )


def demonstration_files(paths: list[Path]) -> Iterator[Path]:
    """The files among these, and those below directories, each once."""
    known: set[Path] = set()
    for path in paths:
        for file in sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]:
            if file.resolve() not in known:
                known.add(file.resolve())
                yield file


def _steps(data: h5py.Group) -> int:
    return int(sum(data[name].attrs["num_samples"] for name in data))


def _write(group: h5py.Group, demonstration: LiberoDemonstration) -> None:
    steps = len(demonstration.actions)
    last: NDArray[np.uint8] = np.zeros(steps, np.uint8)
    last[-1] = 1
    group.create_dataset("states", data=demonstration.states, compression="gzip", shuffle=True)
    group.create_dataset("actions", data=demonstration.actions)
    group.create_dataset("rewards", data=last)
    group.create_dataset("dones", data=last)
    seen = demonstration.observations
    if seen:
        hand = [seen["gripper_states"], seen["ee_pos"], seen["ee_quat"]]
        group.create_dataset("robot_states", data=np.concatenate(hand, axis=1))
        for name, values in seen.items():
            if name != "ee_quat":
                group.create_dataset(f"obs/{name}", data=values)
    group.attrs.update(num_samples=steps, model_file=demonstration.model_file, init_state=demonstration.states[0])
    group.attrs.update(demonstration.notes)


def _numbers(body: ElementTree.Element, name: str, missing: str) -> Vector:
    numbers = np.array(body.get(name, missing).split(), dtype=np.float64)
    of = f"{name} of body {body.get('name')}"
    if len(numbers) != len(missing.split()):
        raise ValueError(f"{of}: {len(numbers)} numbers")
    if not np.isfinite(numbers).all() or (name == "quat" and not numbers.any()):
        raise ValueError(f"{of}: {body.get(name)!r} says nothing")
    if name == "pos" and np.abs(numbers).max() > FAR:
        raise ValueError(f"{of}: {body.get(name)!r} is more than {FAR:g} m away")
    return numbers


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """The place of the first that is so."""
    return tuple(int(number) for number in np.argwhere(wrong)[0]) if wrong.any() else None


def _named(part: str, values: Vector, at: tuple[int, ...]) -> str:
    return f"{part}[{', '.join(map(str, at))}] is {values[at]:g}"
