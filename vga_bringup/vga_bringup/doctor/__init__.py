"""`vga doctor`: before a day's work, one table of what is ready, what is not, and the remedy.

It only looks. It ends within seconds whatever hangs, and takes no control of anything: a probe that gets no answer is
a row of the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import locate
from vga_policy.cli_options import CELL, add_cell, add_json, add_namespace

from vga_bringup.doctor import robot
from vga_bringup.doctor.finding import Finding, Health

DEADLINE = 4.5  # s for all probes together

Probe = Callable[[], Iterable[Finding]]


def command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="what of the cell is ready, what is not, and the remedy",
        description="Looks at cameras, robot, leader, real-time set-up, processors, clock, disk, GPU and ROS "
        "environment. Beside a running graph (vga sim, lab.launch.py) it checks the cell of that one.",
        epilog="Exit status: 0; 1 if something that the cell needs is missing; 2 if its file, or what --against names, "
        "cannot be used.",
    )
    add_cell(parser, f"{CELL} Default: that of the running driver. Where none runs, nothing is required.")
    parser.add_argument(
        "--against",
        metavar="DATA",
        help="A checkpoint or a directory of episodes. Compares what the running graph's cameras show with what they "
        "showed there: moved, turned, darker, of another white balance, in another's slot.",
    )
    add_namespace(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Probes, prints, and returns the exit status. Raises CellError for a cell file that cannot be used."""
    cell = None if arguments.cell is None else _load(arguments.cell)
    if arguments.against is not None and not locate(arguments.against).is_dir():
        print(f"vga doctor: --against {arguments.against}: no such directory, and no shipped policy", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(1) as beside:
        driver = beside.submit(robot.driver_state, arguments.namespace)
        findings = examine(_probes(cell, driver.result))
    if cell is None and (running := driver.result()) is not None:
        found, cell = _running(running.get("cell", ""))
        arguments.cell = running.get("cell", "")
        findings = [found, *(findings if cell is None else examine(_probes(cell, driver.result)))]
    if arguments.against is not None:
        findings += _against(arguments.against, cell, arguments)
    lacking = [finding for finding in findings if finding.state == Health.MISSING]
    if arguments.json:
        name = None if cell is None else cell.name
        print(json.dumps({"cell": name, "ready": not lacking, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        _print_table(findings)
    return 1 if lacking and cell is not None else 0


def _against(data: str, cell: Cell | None, arguments: argparse.Namespace) -> list[Finding]:
    """The views beside those of a checkpoint or of episodes."""
    from vga_bringup.doctor import views

    if cell is None:
        return [Finding("views", Health.UNKNOWN, "no cell file given, and no driver tells its", "--cell my_cell.yaml")]
    try:
        known = views.references(data)
    except ValueError as error:
        return [Finding("views", Health.MISSING, f"not compared: {error}", "--against EPISODES")]
    return list(views.views(cell, _cell_path(arguments.cell), arguments.namespace, known))


def _load(cell: str) -> Cell:
    """Reads a cell file as if it moved no arm: limits that are too wide are a finding among the others."""
    return load_cell(_cell_path(cell), stored=True)


def _running(path: str) -> tuple[Finding, Cell | None]:
    """The cell of the running driver, if its file is here."""
    subject, remedy = "running graph", "vga doctor --cell its_cell.yaml, or --cell sim"
    if not path:
        return Finding(subject, Health.UNKNOWN, "a driver runs, and does not tell its cell file", remedy), None
    try:
        return Finding(subject, Health.READY, f"a driver runs with {path}: that cell is checked"), _load(path)
    except CellError as error:
        return Finding(subject, Health.UNKNOWN, f"a driver runs, with another PC's cell file: {error}", remedy), None


def examine(probes: dict[str, Probe], deadline: float = DEADLINE) -> list[Finding]:
    """Runs all probes at once; returns their findings in order. One that fails or hangs becomes a finding itself."""
    results: dict[str, list[Finding]] = {}

    def look(name: str, probe: Probe) -> None:
        try:
            results[name] = list(probe())
        except Exception as error:  # one broken probe must not hide the others
            results[name] = [Finding(name, Health.UNKNOWN, f"{type(error).__name__}: {error}", "report this as a bug")]

    threads = [threading.Thread(target=look, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {deadline:.0f} s"
    return [
        finding
        for name in probes
        for finding in results.get(name, [Finding(name, Health.UNKNOWN, late, "look at it by hand")])
    ]


def _probes(cell: Cell | None, driver: Callable[[], dict[str, Any] | None]) -> dict[str, Probe]:
    from vga_bringup.doctor import cameras, leader, machine, ros

    return {
        "robot": partial(robot.arm, cell),
        "libfranka": partial(robot.libfranka, cell),
        "arm limits": partial(robot.limits, cell),
        "brakes, user stop": partial(robot.driven, cell, driver),
        "cameras": partial(cameras.cameras, cell),
        "leader": partial(leader.leader, cell),
        "real-time": partial(machine.realtime, cell),
        "processors": machine.processors,
        "clock offset": machine.clock,
        "disk": machine.disk,
        "shared memory": machine.shared_memory,
        "shared memory, users": machine.segment_owners,
        "network buffers": machine.network_buffers,
        "GPU": machine.gpu,
        "ROS 2": ros.environment,
        "Fast DDS profile": ros.fast_dds_profile,
    }


def _cell_path(cell: str) -> Path:
    if Path(cell).is_file():
        return Path(cell)
    from vga_policy.cell.shipped import cell_path

    return cell_path(cell)


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {Health.READY: "green", Health.MISSING: "bold red", Health.ABSENT: "yellow", Health.UNKNOWN: "yellow"}
    table = Table()
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("seen, and the remedy", overflow="fold")
    for finding in findings:
        seen = Text(finding.seen)
        if finding.remedy:
            seen.append(f"\n→ {finding.remedy}", style="cyan")
        table.add_row(finding.subject, Text(finding.state, style=colors[finding.state]), seen)
    console = Console()
    console.print(table)
    count = sum(finding.state == Health.MISSING for finding in findings)
    console.print("Nothing that is needed is missing." if not count else f"Missing: {count}.")
