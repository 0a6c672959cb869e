"""`vga record`: a person records demonstrations on the running graph. What it runs is imported when it runs."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from vga_policy.cli_options import add_namespace, add_out, add_seed
from vga_policy.cli_types import add_former_name, between, instruction, positive
from vga_policy.display import Display
from vga_policy.message_constants import DISCARDED, SUCCESS

from vga_teleop.session.buttons import ButtonError, add_buttons, open_buttons
from vga_teleop.session.earlier import earlier
from vga_teleop.session.operators import Held, HumanOperator
from vga_teleop.session.workflow import Refused, Taken, Workflow

COMPLETE_WITHIN = 5.0  # s until every node must have been found


def record_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga record`."""
    parser = subparsers.add_parser(
        "record",
        help="record demonstrations with the leader, one after the other",
        description="Keys: space starts, and stops for a label; s success, f failure, d discard; q ends the session; "
        "Escape stops the arm. "
        "Beside `vga sim --teleop true --record true` a scripted operator moves the leader, and the cell labels.",
        epilog="Exit status: 0 when the set is complete; 130 when the session was ended before; 1 when it cannot be "
        "held; 2 for wrong arguments.",
    )
    parser.add_argument(
        "--task",
        type=_name,
        required=True,
        metavar="TASK",
        help="The task's short name: letters, digits, _ and -. It is part of the files' names.",
    )
    parser.add_argument(
        "--instruction",
        type=instruction,
        required=True,
        metavar="INSTRUCTION",
        help='What the policy will be told, as in "pick up the red cube".',
    )
    parser.add_argument(
        "--episodes",
        type=positive,
        required=True,
        metavar="N",
        help="The number of episodes that the set is to have. Those of this task that earlier sessions kept in the "
        "directory count: after an end at 40 of 90 the same command goes on.",
    )
    add_out(parser, "The directory of the episodes. Default: the recorder's own.")
    add_former_name(parser, "--directory", "--out")
    parser.add_argument(
        "--operator", default=os.environ.get("USER", ""), metavar="NAME", help="Who demonstrates. Default: %(default)s."
    )
    parser.add_argument(
        "--policy",
        metavar="CHECKPOINT",
        help="Lets the running policy act, which must be this one, and a person correct it: t takes over with the "
        "leader, and hands back. Default: demonstrations.",
    )
    add_buttons(parser)
    parser.add_argument(
        "--spread",
        type=between(0, 0.5),
        default=0.0,
        metavar="RAD",
        help="How far around home the arm's start is drawn, in rad. Default: 0.",
    )
    parser.add_argument(
        "--held",
        choices=[held.value for held in Held],
        help="What becomes of what the hand still holds when the arm is to go home: ask, keep it and end the session, "
        "or open the hand. Default: ask on a terminal or with --buttons, else keep.",
    )
    add_seed(parser, "The seed of the first scene, where the cell draws scenes itself.")
    add_namespace(parser)
    parser.set_defaults(run=_run)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise argparse.ArgumentTypeError(f"use letters, digits, _ and - only (found {text!r})")
    return text


def _run(args: argparse.Namespace) -> int:
    from vga_policy.ros.client.session import Session, stop_request
    from vga_policy.ros.errors import GraphError

    from vga_teleop.session.graph_cell import GraphCell
    from vga_teleop.session.policy_cell import PolicyCell

    display = Display()
    try:
        with ExitStack() as stack:
            buttons = stack.enter_context(open_buttons(args, terminal=True))
            stop = stack.enter_context(stop_request())
            session = stack.enter_context(Session("vga_record", args.namespace))
            robot = session, args.task, args.operator, stop
            cell = GraphCell(*robot) if args.policy is None else PolicyCell(*robot, args.policy)
            cell.wait_until_complete(COMPLETE_WITHIN)
            if isinstance(cell, PolicyCell):
                cell.require_policy()
            cell.refuse_unknown_task()
            if args.out is not None:
                cell.record_into(args.out)
            scripted = cell.scripted
            operator = HumanOperator(
                args.instruction,
                buttons,
                display.say,
                display.show,
                spread=args.spread,
                seed=args.seed,
                held=_held(args),
                scripted=scripted,
                explain=session.explain,
                halt=cell.halt,
                pass_on=cell.pass_on if isinstance(cell, PolicyCell) else None,
            )
            cell.meanwhile = operator.wait  # Escape, q and t are heard while the arm goes home
            before = earlier(cell.directory, args.task)
            workflow = Workflow(cell, operator, display.say, earlier=before)
            if scripted and before.kept < args.episodes:
                when = "press space and watch" if args.policy is None else "after t it does the task"
                display.say(f"a scripted operator moves the simulated leader: {when}")
            if before.kept:
                display.say(f"{before.kept} kept by earlier sessions in {cell.directory}, {args.episodes} wanted")
            workflow.run(args.episodes)
            if before.kept >= args.episodes:
                display.say("the set is complete: for more, give a larger --episodes")
                return 0
    except (GraphError, ButtonError, Refused) as error:
        display.say(f"vga record: {error}")
        return 1
    display.say(summary(workflow.taken))
    if not workflow.complete:
        display.say(f"{workflow.progress}; the same command goes on from there")
    return 0 if workflow.complete else 130


def _held(args: argparse.Namespace) -> Held:
    """As told; else there must be somebody to ask."""
    if args.held:
        return Held(args.held)
    return Held.ASK if args.buttons or sys.stdin.isatty() else Held.KEEP


def summary(taken: Sequence[Taken]) -> str:
    """What a session has brought, in a line or two."""
    kept = [episode for episode in taken if episode.verdict.outcome != DISCARDED]
    if not kept:
        return f"no episode kept, {len(taken)} discarded"
    successes = sum(episode.verdict.outcome == SUCCESS for episode in kept)
    mean = sum(episode.seconds for episode in kept) / len(kept)
    episodes = "1 episode" if len(kept) == 1 else f"{len(kept)} episodes"
    return (
        f"{episodes} in {kept[0].path.parent}, {successes} successful ({successes / len(kept):.0%}), "
        f"{mean:.1f} s on average; {len(taken) - len(kept)} discarded"
    )
