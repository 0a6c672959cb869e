"""A policy for a cell without trained weights: it keeps the arm moving, visibly and gently.

It is the `nano` model with random weights, without 3D heads, in an ordinary checkpoint. Random weights alone would
hold the arm near one pose, so the model has a rhythm (vga_policy.model.rhythm): random tanh features of the
proprioception, read out by weights solved (least squares) to continue a motion field from wherever the arm is. In the
field, pairs of joints circle around a center near home and are drawn to the circle from inside and outside.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS, Cell
from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.inference.policy import Policy
from vga_policy.model.rhythm import Rhythm, RhythmicVGAConfig
from vga_policy.observation.observation import PROPRIOCEPTION
from vga_policy.presets.presets import nano
from vga_policy.text.encoder import HashedNgrams

# Joints 2 and 4 decide the height of the hand: they move less, around a center that lifts it.
AMPLITUDE = np.array([0.28, 0.12, 0.28, 0.12, 0.28, 0.28, 0.33])  # rad
CENTER = np.array([0.12, -0.06, 0.12, 0.06, 0.12, 0.12, 0.10])  # rad from home, so that home is no still point
PAIRS = ((0, 1), (2, 3), (4, 5))  # joint 7 follows joint 5
TURN_RATES = (0.9, 1.2)  # rad/s, range they are drawn from
PULL = 1.0  # 1/s, towards the circle
FOLLOW = 2.0  # 1/s, of joint 7
FIELD_RADIUS = 1.6  # the field is learned this far around the center, in amplitudes; beyond, its border's value holds

STEP_SPEED = 0.6  # rad/s that an output of 1 means; the field is nowhere faster
HEAD_SCALE = 0.02  # of the random model's share in the motion
FEATURES_PER_PAIR = 96
SAMPLES = 4096
RIDGE = 1e-6
FLOW_STEPS = 4  # Runge-Kutta steps in each control step


def untrained_policy(cell: Cell, *, seed: int = 0, device: str = "cpu", threads: int = 1) -> Policy:
    """A policy with random weights whose closed loop keeps the arm within 0.5 rad of home and below 0.8 rad/s."""
    return Policy(untrained_checkpoint(cell, seed=seed), device=device, threads=threads)


def untrained_checkpoint(cell: Cell, *, seed: int = 0) -> Checkpoint:
    """What `untrained_policy` runs."""
    base = replace(nano().model, camera_head=None, depth_head=None, horizon=cell.action.horizon)
    config = RhythmicVGAConfig(**vars(base), rhythm=FEATURES_PER_PAIR * len(PAIRS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = config.build()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        model.action_head.project_out.weight.mul_(HEAD_SCALE)
        model.action_head.project_out.bias.mul_(HEAD_SCALE)
        _teach_rhythm(model.rhythm, rng.uniform(*TURN_RATES, len(PAIRS)), cell.dt, rng)
    # Random weights understand no instruction: an encoder that tells them apart, without weights of its own, will do.
    return Checkpoint(config, HashedNgrams(config.language_width), model, _normalization(cell), cell)


def _normalization(cell: Cell) -> Normalization:
    reach = FIELD_RADIUS * AMPLITUDE
    center = np.array(cell.arm.home) + CENTER
    width = cell.gripper.max_width
    due = cell.dt * np.arange(1, cell.action.horizon + 1)
    travel = STEP_SPEED * np.tile(due[:, None], ARM_JOINTS)
    closed, opened = np.zeros((len(due), 1)), np.full((len(due), 1), width)
    return Normalization(
        action=Range(np.hstack([-travel, closed]), np.hstack([travel, opened])),
        proprioception=Range(np.append(center - reach, 0.0), np.append(center + reach, width)),
        relative=True,
    )


def _teach_rhythm(rhythm: Rhythm, rates: NDArray[np.float64], dt: float, rng: np.random.Generator) -> None:
    """Sets the rhythm's weights: random features, least-squares read-out of where the field leads."""
    state = rng.uniform(-FIELD_RADIUS, FIELD_RADIUS, (SAMPLES, ARM_JOINTS))
    horizon, actions = rhythm.steps
    target = np.empty((SAMPLES, horizon, actions))
    ahead = state
    for step in range(horizon):
        ahead = _flow(ahead, rates, dt)
        target[:, step, :ARM_JOINTS] = (ahead - state) * AMPLITUDE / (STEP_SPEED * dt * (step + 1))
        target[:, step, ARM_JOINTS] = np.tanh(4.0 * ahead[:, 0])  # the gripper opens and closes with joint 1

    groups = np.repeat(np.arange(len(PAIRS)), FEATURES_PER_PAIR)
    weight = np.zeros((len(groups), PROPRIOCEPTION))
    for joint in range(ARM_JOINTS):
        seeing = groups == min(joint // 2, len(PAIRS) - 1)
        weight[seeing, joint] = rng.normal(0.0, 1.5, seeing.sum())
    bias = rng.uniform(-1.5, 1.5, len(groups))
    features = np.tanh(state / FIELD_RADIUS @ weight[:, :ARM_JOINTS].T + bias)
    features = np.hstack([features, np.ones((SAMPLES, 1))])
    gram = features.T @ features + RIDGE * SAMPLES * np.eye(features.shape[1])
    readout = np.linalg.solve(gram, features.T @ target.reshape(SAMPLES, -1))
    rhythm.input.weight.copy_(torch.from_numpy(weight))
    rhythm.input.bias.copy_(torch.from_numpy(bias))
    rhythm.output.weight.copy_(torch.from_numpy(readout[:-1].T))
    rhythm.output.bias.copy_(torch.from_numpy(readout[-1]))


def _field(state: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Velocity [N, 7] at the states [N, 7], both in amplitudes."""
    velocity = np.empty_like(state)
    for (a, b), rate in zip(PAIRS, rates, strict=True):
        x, y = state[:, a], state[:, b]
        square = x**2 + y**2
        pull = PULL * (1.0 - square) / (1.0 + square)
        velocity[:, a] = pull * x - rate * y
        velocity[:, b] = pull * y + rate * x
    velocity[:, 6] = FOLLOW * (state[:, 4] - state[:, 6])
    limit = STEP_SPEED / AMPLITUDE
    return limit * np.tanh(velocity / limit)


def _flow(state: NDArray[np.float64], rates: NDArray[np.float64], duration: float) -> NDArray[np.float64]:
    """Where the field carries the states in `duration` seconds (Runge-Kutta)."""
    h = duration / FLOW_STEPS
    for _ in range(FLOW_STEPS):
        k1 = _field(state, rates)
        k2 = _field(state + 0.5 * h * k1, rates)
        k3 = _field(state + 0.5 * h * k2, rates)
        k4 = _field(state + h * k3, rates)
        state = state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return state
