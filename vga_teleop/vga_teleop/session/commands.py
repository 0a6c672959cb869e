"""`vga record`: a person records demonstrations on the running graph. What it runs is imported when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from vga_policy.cli_options import add_out, add_seed
from vga_policy.cli_types import add_former_name, between, instruction, positive
from vga_policy.display import Display
from vga_policy.message_constants import DISCARDED, SUCCESS

from vga_teleop.session.buttons import HID_KEYS, ButtonError, HidButtons, Several, Terminal, open_hid, parse_keys
from vga_teleop.session.operators import Held, HumanOperator
from vga_teleop.session.workflow import Refused, Taken, Workflow

COMPLETE_WITHIN = 5.0  # s until every node must have been found


def record_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga record`."""
    parser = subparsers.add_parser(
        "record",
        help="record demonstrations with the leader, one after the other",
        description="Keys: space starts, and stops for a label; s success, f failure, d discard; q ends the session.",
    )
    parser.add_argument(
        "--task",
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
    parser.add_argument("--episodes", type=positive, required=True, metavar="N", help="The number of episodes to keep.")
    add_out(parser, "The directory of the episodes. Default: the recorder's own.")
    add_former_name(parser, "--directory", "--out")
    parser.add_argument(
        "--operator", default=os.environ.get("USER", ""), metavar="NAME", help="Who demonstrates. Default: %(default)s."
    )
    parser.add_argument(
        "--buttons",
        metavar="DEVICE",
        help="A foot pedal or other HID device: its path, or part of its name. Default: none.",
    )
    parser.add_argument(
        "--keys",
        default=",".join(f"{key}={button}" for key, button in HID_KEYS.items()),
        metavar="KEY=MEANING,...",
        help="What its keys mean: go, success, failure, discard or quit. Default: %(default)s.",
    )
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
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from vga_policy.ros.client.session import Session, stop_request
    from vga_policy.ros.errors import GraphError

    from vga_teleop.session.graph_cell import GraphCell

    display = Display()
    try:
        with ExitStack() as stack:
            buttons = stack.enter_context(_open_buttons(args))
            stop = stack.enter_context(stop_request())
            session = stack.enter_context(Session("vga_record"))
            cell = GraphCell(session, args.task, args.operator, stop)
            cell.wait_until_complete(COMPLETE_WITHIN)
            if args.out is not None:
                cell.record_into(args.out)
            operator = HumanOperator(
                args.instruction, buttons, display.say, display.show, args.spread, args.seed, _held(args)
            )
            workflow = Workflow(cell, operator, display.say)
            workflow.run(args.episodes)
    except (GraphError, ButtonError, Refused) as error:
        display.say(f"vga record: {error}")
        return 1
    display.say(summary(workflow.taken))
    return 0 if len(workflow.kept) >= args.episodes else 130


def _held(args: argparse.Namespace) -> Held:
    """As told; else there must be somebody to ask."""
    if args.held:
        return Held(args.held)
    return Held.ASK if args.buttons or sys.stdin.isatty() else Held.KEEP


@contextmanager
def _open_buttons(args: argparse.Namespace) -> Iterator[Several]:
    with ExitStack() as stack:
        sources: list[Terminal | HidButtons] = [stack.enter_context(Terminal())]
        if args.buttons:
            sources.append(stack.enter_context(open_hid(args.buttons, parse_keys(args.keys))))
        yield Several(sources)


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
