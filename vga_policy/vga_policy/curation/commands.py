"""`vga curate`: heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from vga_policy.cli_options import add_cell, add_jobs, add_json, add_out
from vga_policy.cli_types import add_former_name
from vga_policy.episodes.decisions import CurationError, Verdict, decide, decision

if TYPE_CHECKING:
    from vga_policy.curation.curate import Assessment, Review
    from vga_policy.curation.rules import Thresholds

NEAR = 3  # episodes named to somebody who named one that is not there


def curate_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga curate`."""
    parser = subparsers.add_parser(
        "curate",
        help="quality of recorded episodes: accept, review or reject each, with the reason",
        description="Judges every episode under DIR and keeps the verdict in a curation.yaml beside each bag. Bags are "
        "never changed. With --accept, --reject or --reset only your decisions are stored, unless --out or --json "
        "asks for a report as well.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="A directory of episodes.")
    add_out(parser, "The report, as one HTML file. Default: none.", endings=(".html",))
    add_json(parser)
    for verdict, text in (
        ("accept", "Trains on these episodes, whatever is proposed. Each is named as in the table, or by its path."),
        ("reject", "Does not train on these episodes."),
    ):
        parser.add_argument(f"--{verdict}", nargs="+", metavar="EPISODE", default=[], help=text)
    parser.add_argument("--reason", default="", metavar="TEXT", help="Why, kept with --accept or --reject.")
    parser.add_argument(
        "--reset", nargs="*", metavar="EPISODE", help="Takes decisions back: those of these episodes, or all."
    )
    parser.add_argument(
        "--no-trim", action="store_true", help="Trains on the rest before and after the motion as well."
    )
    add_cell(parser, "Refuses other cells' episodes than this one's. Default: the commonest cell's.")
    parser.add_argument(
        "--thresholds", type=Path, metavar="FILE", help="A YAML file with other limits than the built-in ones."
    )
    add_jobs(parser)
    add_former_name(parser, "--workers", "--jobs")
    parser.set_defaults(run=_curate)


def _curate(arguments: argparse.Namespace) -> int:
    from vga_policy.episodes.listing import DatasetError

    try:
        decided = _decide(arguments)
        if decided and not arguments.out and not arguments.json:
            return 0
        return _review(arguments)
    except (CurationError, DatasetError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}")


def _decide(arguments: argparse.Namespace) -> bool:
    """Stores what the person decided; all of it is checked first. Returns whether there was anything."""
    from vga_policy.curation.curate import episode_name
    from vga_policy.episodes.listing import find_episodes

    directory: Path = arguments.directory
    wanted: dict[Path, Verdict | None] = {}
    if arguments.reset is None and not arguments.accept and not arguments.reject:
        if arguments.reason:
            raise CurationError("--reason: needs --accept or --reject")
        return False
    paths = find_episodes([directory])
    for verdict, names in (
        (Verdict.ACCEPT, arguments.accept),
        (Verdict.REJECT, arguments.reject),
        (None, arguments.reset if arguments.reset is not None else []),
    ):
        for path in _find(directory, paths, names):
            if wanted.setdefault(path, verdict) is not verdict:
                raise CurationError(f"{episode_name(directory, path)}: two decisions at once")
    if arguments.reset == []:
        kept = [path for path in paths if path not in wanted and decision(path).decided is not None]
        wanted |= dict.fromkeys(kept)
    for path, verdict in wanted.items():
        curation = decide(path, verdict, arguments.reason if verdict else "")
        print(f"{episode_name(directory, path)}: {curation.verdict or 'undecided'}", file=sys.stderr)
        if verdict is Verdict.ACCEPT and (damage := _damage(path)):
            print(f"vga curate: kept, but nothing trains on it as it is: {damage}", file=sys.stderr)
    return True


def _damage(episode: Path) -> str:
    """Why a bag cannot be read at all; empty when it can."""
    from vga_policy.bags.reader import Bag, BagError

    try:
        with Bag(episode):
            return ""
    except BagError as error:
        return str(error)


def _find(directory: Path, paths: list[Path], names: list[str]) -> list[Path]:
    """The episodes of these names: paths from the directory, or their last part where that is unique."""
    from vga_policy.curation.curate import episode_name

    known = {episode_name(directory, path): path for path in paths}
    short = Counter(path.name for path in paths)
    known |= {path.name: path for path in paths if short[path.name] == 1}
    names = [_as_known(name, directory) for name in names]
    if unknown := [name for name in names if name not in known]:
        near = get_close_matches(unknown[0], known, NEAR, 0)
        more = f" and {len(paths) - len(near)} more" if len(paths) > len(near) else ""
        raise CurationError(f"no episode {', '.join(unknown)} in {directory}; nearest: {', '.join(near)}{more}")
    return [known[name] for name in names]


def _as_known(name: str, directory: Path) -> str:
    """The name of an episode below the directory whose path, from here, may have been given."""
    path = Path(name)
    if not path.is_dir() or path.resolve() == directory.resolve():
        return name.rstrip("/")
    return os.path.relpath(path.resolve(), directory.resolve())


def _review(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path
    from vga_policy.curation.curate import review

    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    cell = load_cell(cell_path(arguments.cell)) if arguments.cell else None
    reviewed = review(
        arguments.directory,
        cell=cell,
        thresholds=_thresholds(arguments.thresholds),
        trim=not arguments.no_trim,
        workers=arguments.jobs,
        progress=_progress if sys.stderr.isatty() else None,
    )
    for problem in reviewed.problems:
        print(f"{reviewed.name(problem.path)}: unusable: {problem.reason}", file=sys.stderr)
    if not reviewed.assessments:
        return _fail(f"{arguments.directory}: no episode in it can be used")
    unsaved = [failure for assessment in reviewed.assessments if (failure := _save(assessment))]
    if arguments.out and (failure := _report(reviewed, arguments.out)):
        unsaved.append(failure)
    if arguments.json:
        from vga_policy.curation.report import as_data

        print(json.dumps(as_data(reviewed), indent=2))
    else:
        print(_table(reviewed))
    for failure in unsaved:
        print(f"vga curate: {failure}", file=sys.stderr)
    return 1 if unsaved else 0


def _save(assessment: Assessment) -> str:
    """Why the verdict could not be written; empty when it is."""
    try:
        assessment.save()
    except OSError as error:
        return f"{error.filename or assessment.measured.path}: verdict not written: {error.strerror}"
    return ""


def _report(reviewed: Review, file: Path) -> str:
    """Why the report could not be written; empty when it is."""
    from vga_policy.curation.report import write_report

    try:
        write_report(reviewed, file)
    except OSError as error:
        return f"--out {file}: the report cannot be written: {error.strerror}"
    return ""


def _table(reviewed: Review) -> str:
    lines = []
    longest = max(len(reviewed.name(each.measured.path)) for each in reviewed.assessments)
    for each in reviewed.assessments:
        hand = "*" if each.curation.decided else " "
        reasons = "; ".join(finding.reason for finding in each.findings)
        seconds = f"{each.measured.metrics.seconds:6.1f} s"
        name = reviewed.name(each.measured.path)
        lines.append(f"{each.verdict:6}{hand} {name:{longest}} {seconds}  {reasons}".rstrip())
    counts = ", ".join(f"{verdict} {reviewed.count(verdict)}" for verdict in Verdict)
    by_hand = " (* decided by a person)" if any(each.curation.decided for each in reviewed.assessments) else ""
    return "\n".join([*lines, f"{counts}, unusable {len(reviewed.problems)}{by_hand}"])


def _thresholds(path: Path | None) -> Thresholds:
    """The built-in limits with those of a YAML file in their place."""
    import yaml
    from pydantic import ValidationError

    from vga_policy.curation.rules import Thresholds
    from vga_policy.files import parse_yaml, yaml_fault

    if path is None:
        return Thresholds()
    try:
        return Thresholds.model_validate(parse_yaml(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise CurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CurationError(f"{path}: cannot be read: it is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise CurationError(f"{path}: cannot be read: {yaml_fault(error)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise CurationError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _progress(done: int, count: int) -> None:
    print(f"\r{done} of {count} episodes", end="\n" if done == count else "", file=sys.stderr, flush=True)


def _fail(message: str) -> int:
    print(f"vga curate: {message}", file=sys.stderr)
    return 1
