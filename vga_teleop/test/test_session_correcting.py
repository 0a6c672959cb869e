"""A session in which a policy acts: who commands, what that means for the episode, and what the person is told."""

import threading

import pytest
from support.sessions import FakeCell, Keys, session
from vga_policy.message_constants import Mode
from vga_policy.ros.errors import GraphError, RefusedError
from vga_teleop.session.buttons import Button
from vga_teleop.session.graph_cell import Attended
from vga_teleop.session.hands import Hands, pass_on
from vga_teleop.session.operators import CORRECTING, HumanOperator
from vga_teleop.session.workflow import SessionEnded, Sight, Verdict

HELD = Sight(hold_reason="no message of the leader for 0.20 s")


@pytest.mark.parametrize(
    ("hands", "goes_on", "commander", "notice"),
    [
        (Hands(Mode.POLICY, True), True, "the policy commands; t takes over", ""),
        (Hands(Mode.POLICY, False), True, "the policy commands; t takes over", ""),  # it has only just been asked
        (Hands(Mode.TELEOP, True), True, "a person commands; t hands back", ""),
        (
            Hands(Mode.TELEOP, True, offset=0.3),
            True,
            "a person commands, 0.30 rad away from the leader; t hands back",
            "",
        ),
        (
            Hands(Mode.TELEOP, False),
            True,
            "a person commands; t hands back",
            "the task has ended meanwhile: correct on, then label",
        ),
        (
            Hands(Mode.HOLD, True),
            True,
            "nobody commands; t: the policy goes on",
            "the arm holds: no message of the leader for 0.20 s; t: the policy goes on",
        ),
        (Hands(Mode.HOLD, False), False, "", ""),
        (Hands(None, False), False, "", ""),
    ],
)
def test_an_episode_goes_on_while_somebody_commands_or_can_again(hands, goes_on, commander, notice):
    seen = hands.seen(HELD)
    assert (seen.teleop, seen.commander, seen.notice) == (goes_on, commander, notice)


def test_a_policy_that_ends_its_task_ends_the_episode_with_its_reason():
    seen = Hands(Mode.POLICY, False, ended="the instruction is not known").seen(HELD)
    assert not seen.teleop
    assert seen.ended == "the policy has ended the task: the instruction is not known"


class Corrected(FakeCell):
    """A cell whose episodes are a policy's. hands: who commands, as it is passed on."""

    hands = Hands(Mode.POLICY, True)

    def look(self, seconds):
        sight = super().look(seconds)
        return self.hands.seen(sight) if sight.recording else sight

    def pass_on(self):
        here = self.hands.mode
        self.hands = Hands(Mode.TELEOP if here is Mode.POLICY else Mode.POLICY, True)
        self.log.append(("passed on", str(self.hands.mode)))
        return "done"


def test_the_episode_is_then_a_failure_for_this_reason():
    cell = Corrected()
    keys = Keys(cell, (1, Button.GO))
    cell.hands = Hands(Mode.POLICY, False, ended="it is silent")
    workflow, _ = session(cell, HumanOperator("pick", keys, lambda _: None, lambda _: None, pass_on=cell.pass_on))
    assert workflow.taken[0].verdict == Verdict("failure", "the policy has ended the task: it is silent")


def corrector(cell, lines, shown, *presses):
    halt = lambda: cell.log.append(("halt",))  # noqa: E731
    return HumanOperator(
        "pick it up", Keys(cell, *presses), lines.append, shown.append, halt=halt, pass_on=cell.pass_on
    )


def test_an_episode_is_taken_over_handed_back_and_labeled():
    cell, lines, shown = Corrected(), [], []
    presses = (1, Button.GO), (3, Button.TAKE_OVER), (5, Button.TAKE_OVER), (6, Button.SUCCESS)
    workflow, _ = session(cell, corrector(cell, lines, shown, *presses))
    (taken,) = workflow.taken
    assert taken.verdict == Verdict("success")
    assert [entry for entry in cell.log if entry[0] == "passed on"] == [
        ("passed on", str(Mode.TELEOP)),
        ("passed on", str(Mode.POLICY)),
    ]
    assert lines.count(CORRECTING) == 1
    assert any("a person commands" in line for line in shown)
    assert all(len(line) < 80 for line in shown), "an ordinary terminal shows all of it"


def test_a_leader_that_is_silent_is_said_once_and_the_episode_goes_on():
    cell, lines, shown = Corrected(), [], []
    cell.change(hold_reason="no message of the leader for 0.20 s")
    keys = Keys(cell, (1, Button.GO), (3, Button.TAKE_OVER), (8, Button.SUCCESS))
    operator = HumanOperator("pick", keys, lines.append, shown.append, pass_on=cell.pass_on)
    look = cell.look

    def unplugged(seconds):
        if cell.sight.recording and 4 < cell.now < 6:
            cell.hands = Hands(Mode.HOLD, True)
        elif cell.now >= 6:
            cell.hands = Hands(Mode.POLICY, True)
        return look(seconds)

    cell.look = unplugged
    workflow, _ = session(cell, operator)
    assert workflow.taken[0].verdict == Verdict("success")
    assert sum(line.startswith("the arm holds: ") for line in lines) == 1


def test_escape_and_q_are_heard_while_the_arm_moves_by_itself():
    cell = Corrected()
    cell.now = 10
    stop, operator = threading.Event(), corrector(cell, [], [], (1, Button.STOP), (2, Button.TAKE_OVER))
    attended = Attended(stop, operator.wait)
    assert not attended.is_set()
    assert ("halt",) in cell.log
    assert ("passed on", str(Mode.TELEOP)) in cell.log
    stop.set()
    assert attended.is_set()
    with pytest.raises(SessionEnded):
        Attended(stop, corrector(cell, [], [], (1, Button.QUIT)).wait).is_set()


class Driver:
    """A driver's client in a mode, that does or refuses what it is asked."""

    def __init__(self, mode, error=None):
        self.mode, self.error, self.asked = mode, error, []

    def _ask(self, what):
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def take_over(self):
        self._ask("take over")

    def hand_back(self):
        self._ask("hand back")


@pytest.mark.parametrize(
    ("mode", "asked"), [(Mode.POLICY, "take over"), (Mode.TELEOP, "hand back"), (Mode.HOLD, "hand back")]
)
def test_one_key_takes_over_from_a_policy_in_command_and_hands_back_from_anything_else(mode, asked):
    driver = Driver(mode)
    assert pass_on(driver).startswith(("taken over: ", "handed back: "))
    assert driver.asked == [asked]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RefusedError("POLICY refused: the policy is silent", "the driver refuses POLICY"),
            "POLICY refused: the policy",
        ),
        (GraphError("/franka_driver/set_mode does not answer"), "/franka_driver/set_mode does not answer"),
    ],
)
def test_what_is_refused_is_said_in_the_drivers_words_alone(error, said):
    assert pass_on(Driver(Mode.TELEOP, error)).startswith(said)
