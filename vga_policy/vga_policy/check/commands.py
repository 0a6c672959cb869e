"""`vga check`: heavy imports wait until it runs."""

from __future__ import annotations

import argparse

from vga_policy.cli_options import add_json

WHOLE, WRONG, UNKNOWN = 0, 1, 2  # exit statuses


def check_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga check`."""
    parser = subparsers.add_parser(
        "check",
        help="what a bag, episode, dataset, checkpoint, run or cell file is, and what is wrong with it",
        description="Says of each PATH what it is and whether it is whole, and if not, in one line each, what is "
        "wrong. Everything is read to its end, by what uses it otherwise; nothing is changed.",
        epilog="Exit status: 0 all whole; 1 something is wrong; 2 something is not there or not recognized.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="A bag, an episode or a directory of episodes, a LeRobot dataset, scenes, a checkpoint, weights of VGGT, "
        "a training run, results of trials, or a cell file; or the name of a shipped policy or cell.",
    )
    add_json(parser)
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    import json

    from vga_policy.check.check import check, words

    found = [check(path) for path in arguments.paths]
    if arguments.json:
        listed = [
            {"path": str(one.path), "kind": one.kind, "whole": not one.problems, "holds": one.holds}
            | {"problems": one.problems}
            for one in found
        ]
        print(json.dumps(listed, indent=2))
    else:
        print("\n".join(line for one in found for line in words(one)))
    if any(one.kind is None for one in found):
        return UNKNOWN
    return WRONG if any(one.problems for one in found) else WHOLE
