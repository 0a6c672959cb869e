"""Demonstrations by the expert, of scenes that are no evaluation's: from their start, or from where a policy got to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vga_policy.checkpoints import locate
from vga_policy.checkpoints.checkpoint import digest
from vga_policy.files import alone
from vga_policy.libero.demonstrations import POLICY_STEPS, DemonstrationWriter, LiberoDemonstration
from vga_policy.libero.errors import LiberoError, told
from vga_policy.libero.expert.expert import demonstrate
from vga_policy.libero.expert.hand import Style
from vga_policy.libero.tasks import LiberoTask
from vga_policy.libero.trials import Actors, drive
from vga_policy.libero.world import HAND, Vector, World
from vga_policy.workers import worker_pool

HELD = 10  # steps for which success is to last, as where people gave LIBERO's demonstrations
APART = 1e-3  # by which some position differs, at least, from every evaluation state's; m or rad
EXPERT = "vga libero collect: a scripted expert, not people"
HOPELESS = 10  # attempts an episode, after which a task is given up


@dataclass(frozen=True)
class Order:
    """Demonstrations to be made of a task. seed: of everything that is drawn. checkpoint: of the policy that the expert
    takes over from, after some steps of every attempt; empty: there is none."""

    task: LiberoTask
    episodes: int
    seed: int
    out: Path
    checkpoint: str = ""

    @property
    def made_by(self) -> str:
        """Who demonstrates, in words."""
        if not self.checkpoint:
            return EXPERT
        return f"{EXPERT}, which took over from the policy of weights {digest(locate(self.checkpoint))}"


def collect(orders: Sequence[Order], processes: int, report: Callable[[str], None]) -> list[str]:
    """Makes what is missing; what went wrong, in words."""
    problems = []
    with worker_pool(min(processes, len(orders))) as pool:
        running = {pool.submit(fill, order): order for order in orders}
        for done in as_completed(running):
            order, error = running[done], done.exception()
            if error is not None:
                problems.append(f"{order.task.label}: {told(error)}")
                report(problems[-1])
                continue
            count, attempts = done.result()
            dropped = f"{attempts - count} {'attempts' if order.checkpoint else 'failures'} dropped"
            report(f"{order.task.label}: {count} demonstrations, {dropped}: {order.task.instruction}")
    return problems


def fill(order: Order) -> tuple[int, int]:
    """Makes what is missing of an order; how many demonstrations there are then, of how many attempts."""
    directory = order.out / order.task.suite
    with alone(directory / f".{order.task.name}.lock"):
        return _fill(order)


def _fill(order: Order) -> tuple[int, int]:
    recording = DemonstrationWriter(order.out, order.task, order.made_by, order.seed)
    if recording.count >= order.episodes:
        return recording.count, recording.attempts
    policy = beginner(order.checkpoint) if order.checkpoint else None
    world = World(order.task)
    try:
        while recording.count < order.episodes:
            if recording.attempts >= HOPELESS * order.episodes:
                raise LiberoError(f"only {recording.count} demonstrations of {recording.attempts} attempts; given up")
            seed = seed_of(order.task, order.seed, recording.attempts, begun=policy is not None)
            recording.add(record(world, seed, policy))
    finally:
        world.close()
    return recording.count, recording.attempts


def seed_of(task: LiberoTask, seed: int, attempt: int, *, begun: bool = False) -> int:
    """Seed of one attempt, which no other attempt or task has.

    begun: by a policy, which may have been trained on the scenes of the others.
    """
    return zlib.crc32(f"{seed} {task.label} {attempt}{' begun' if begun else ''}".encode())


def beginner(checkpoint: str) -> Actors:
    """Of the policy that begins attempts. Raises LiberoError when it cannot be used."""
    from vga_policy.libero.policies import trained  # needs torch, which the expert does without

    return trained(checkpoint)


def record(world: World, seed: int, policy: Actors | None = None) -> LiberoDemonstration | None:
    """Draws a scene and a manner, and demonstrates the task; None when that fails.

    policy: acts before, for up to half the steps of a trial, and none of them is recorded. None as well when it has
    done the task by then.
    """
    random = np.random.default_rng(seed)
    draw_scene(world, seed)
    scene = world.model_file()
    world.settle()
    style, notes = Style.drawn(random), {"seed": seed}
    if policy is not None:
        style = replace(style, first=(0.0, 0.0, 0.0))
        notes[POLICY_STEPS] = int(random.integers(1, world.task.step_limit // 2))
        if drive(world, policy(world), notes[POLICY_STEPS])[0]:
            return None
    rows: dict[str, list[Vector]] = {name: [] for name in ("states", "actions", *_measured(world))}
    held = 0
    for action in demonstrate(world, style, random, begun=policy is not None):
        for name, value in {"states": world.state(), "actions": action, **_measured(world)}.items():
            rows[name].append(value)
        held = held + 1 if world.step(action) else 0
        if held == HELD or len(rows["actions"]) == world.task.step_limit:
            break
    if not held:
        return None
    states, actions, *measured = (np.array(values) for values in rows.values())
    observations = dict(zip(list(rows)[2:], measured, strict=True))
    return LiberoDemonstration("", states, actions, scene, observations, notes)


def draw_scene(world: World, seed: int) -> None:
    """A scene of the task's own distribution that is none of the evaluation's."""
    evaluation = world.task.initial_states()[:, 1 : 1 + world.model.nq]
    world.seed(seed)
    while True:
        world.reset()
        apart = np.abs(evaluation - world.state()[1 : 1 + world.model.nq]).max(axis=1)
        if apart.min() > APART:
            return


def _measured(world: World) -> dict[str, Vector]:
    """What LIBERO's files call `obs`, before an action."""
    felt = world.proprioception()
    quaternion = np.roll(world.data.body(HAND).xquat, -1)
    joints = np.array([world.data.joint(f"robot0_joint{number}").qpos[0] for number in range(1, 8)])
    return {
        "gripper_states": felt[6:],
        "joint_states": joints,
        "ee_states": felt[:6],
        "ee_pos": felt[:3],
        "ee_ori": felt[3:6],
        "ee_quat": quaternion,
    }
