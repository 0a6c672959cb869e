"""What went wrong with the arm or the hand, as one line a person can act on."""

from __future__ import annotations

import franky

from vga_bringup.robot.libfranka import refusal


class ArmError(Exception):
    """The arm or the hand stopped obeying. The message is the reason, one line.

    lost: the connection is gone; franky's object is dead and a new one must be built.
    needs_recovery: errors must be cleared before the arm moves again.
    """

    def __init__(self, reason: str, *, lost: bool = False, needs_recovery: bool = True) -> None:
        super().__init__(" ".join(reason.split()))
        self.lost = lost
        self.needs_recovery = needs_recovery


def reflex(details: str) -> ArmError:
    """The fault of an arm that stopped by itself; details: libfranka's words or names of errors."""
    if "communication_constraints_violation" in details:
        return ArmError(f"communication error, commands reached the arm too late ({details})")
    return ArmError(f"reflex ({details})")


def explain(error: Exception) -> ArmError:
    """The fault behind an exception of franky or libfranka."""
    if isinstance(error, ArmError):
        return error
    words = " ".join(str(error).removeprefix("libfranka:").split())
    if isinstance(error, franky.NetworkException) or words == "Net Exception":
        return ArmError(words, lost=True)
    if isinstance(error, franky.RealtimeException):
        remedy = "boot a PREEMPT_RT kernel, or set arm.realtime to ignore"
        return ArmError(f"no real-time control ({words}): {remedy}", lost=True)
    if isinstance(error, franky.IncompatibleVersionException):
        return ArmError(refusal(words), lost=True)
    if "user stop" in words.lower():
        return ArmError(f"user stop pressed ({words})")
    if isinstance(error, franky.ControlException):
        return reflex(words)
    if isinstance(error, franky.CommandException):
        return ArmError(f"command refused by the robot ({words})")
    return ArmError(f"{type(error).__name__}: {words}")
