"""How the cell's own tasks are done, and when they are: a script for the expert and a judgement for each skill."""

from __future__ import annotations

import numpy as np
from vga_policy.evaluate.environment import Judgement

from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.sim.expert.scripted_expert import CAREFUL, FREE, Goal, Script, ScriptedExpert, downwards
from vga_bringup.sim.scene.objects import BUTTON, CUBE
from vga_bringup.sim.scene.task import Arrangement, Scene, in_words

LIFTED = 0.10  # m above the table: "raised above a vertical threshold"
STACKED_WITHIN = 0.022  # m between the axes of two stacked cubes: half an edge
RESTING_WITHIN = 0.006  # m of the height at which the upper cube lies on the lower one

CAP_TOP = 0.044  # m, of the button's cap above the table while nobody presses it
FINGERTIP = 0.008  # m from the tool center point to the fingers' ends
PRESS_DEPTH = 0.0115  # m the expert means to push the cap down
ABOVE_STACK = 0.055  # m between the cubes when they are lined up
DROP = 0.002  # m above contact at which a cube is let go


def pick(expert: ScriptedExpert, arrangement: Arrangement) -> Script:
    """Picks the target up, and tries again until it holds it."""
    target = arrangement.target
    while True:
        yield from expert.take(target)
        yield from expert.rise(expert.style.lift)
        if expert.holds(target):
            return
        yield from expert.pull(expert.open)


def picked(scene: Scene, arrangement: Arrangement) -> Judgement:
    """Whether the target is held, high enough."""
    target = arrangement.target
    if not scene.held(target):
        return Judgement(False, False, "nothing held", "")
    height, name = scene.height(target), in_words(target)
    return Judgement(height >= LIFTED, False, f"{name} held {height:.2f} m above the table", name)


def press(expert: ScriptedExpert, _: Arrangement) -> Script:
    """Presses the button with closed fingers, deeper each time."""

    def on_button(depth: float) -> Goal:
        """The fingers' ends `depth` below where the cap's top is at rest."""

        def goal() -> Pose:
            x, y, _ = expert.eye(BUTTON).position
            return Pose(downwards(expert.yaw(BUTTON)), np.array((x, y, CAP_TOP + FINGERTIP - depth)))

        return goal

    yield from expert.move(expert.above(BUTTON, expert.style.hover), FREE, width=0.0)
    yield from expert.wait(expert.style.hesitation)
    depth = PRESS_DEPTH
    while not expert.seen.pressed:
        yield from expert.move(on_button(depth), CAREFUL, until=lambda: expert.seen.pressed)
        yield from expert.wait(0.2, until=lambda: expert.seen.pressed)
        depth += 0.003
    yield from expert.rise(expert.style.hover)


def pressed(scene: Scene, _: Arrangement) -> Judgement:
    """Whether the button was pressed."""
    return Judgement(scene.pressed, False, "button pressed" if scene.pressed else "button not pressed")


def stack(expert: ScriptedExpert, arrangement: Arrangement) -> Script:
    """Puts the target onto the support, and tries again until it lies there."""
    upper, lower = arrangement.target, arrangement.support
    while True:
        yield from expert.take(upper)
        yield from expert.rise(expert.style.lift)
        if expert.holds(upper):
            yield from expert.move(expert.over(upper, lower, ABOVE_STACK, expert.style.aim), FREE)
            yield from expert.wait(expert.style.hesitation)
            yield from expert.move(expert.over(upper, lower, DROP), CAREFUL)
        yield from expert.pull(expert.open)
        yield from expert.rise(expert.style.hover)
        x, y, z = expert.seen.objects[upper].position - expert.seen.objects[lower].position
        if abs(z - CUBE) < CUBE / 4 and float(np.hypot(x, y)) < CUBE / 2:
            return


def stacked(scene: Scene, arrangement: Arrangement) -> Judgement:
    """Whether the target lies on the support, let go."""
    upper, lower = arrangement.target, arrangement.support
    x, y, z = scene.offset(upper, lower)
    on_top = np.hypot(x, y) <= STACKED_WITHIN and abs(z - CUBE) <= RESTING_WITHIN
    if on_top and not scene.touched(upper):
        return Judgement(True, False, f"{in_words(upper)} rests on the {in_words(lower)}")
    return Judgement(False, False, f"{in_words(upper)} {'held' if scene.held(upper) else 'not stacked'}")
