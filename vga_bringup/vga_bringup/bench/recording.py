"""`vga bench record`: what recording a busy cell costs, and whether anything is lost."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.cli_options import add_cell, add_out
from vga_policy.cli_types import above_zero, add_former_name
from vga_policy.message_constants import DISCARDED
from vga_policy.units import SECOND

if TYPE_CHECKING:
    from vga_policy.bags.reader import Bag

DOMAIN = "98"  # away from a running graph
SETTLING = 3.0  # s between start-up and measurement: start-up is the busiest time
START_WITHIN = 60.0  # s
GRACE = 10.0  # s a process has to end by itself


def record_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga bench record`."""
    parser = subparsers.add_parser("record", help="messages lost and CPU used while recording a busy cell")
    parser.add_argument(
        "--duration", type=above_zero, default=60.0, metavar="S", help="The seconds of recording. Default: 60."
    )
    add_former_name(parser, "--seconds", "--duration")
    add_cell(parser, default="lab")
    add_out(parser, "The report, as JSON.", default="out/bench/record.json", endings=(".json",))
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from vga_policy.ros.errors import GraphError

    args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        result = measure(args.cell, args.duration, args.out.parent)
    except GraphError as error:
        print(error, file=sys.stderr)
        return 1
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(
        f"{result['messages']} messages in {result['seconds']} s: {result['messages_lost']} lost, "
        f"stamps {'exact' if result['stamps_exact'] else 'ALTERED'}, "
        f"recorder {result['recorder_cpu']:.1%} of a core; {args.out}"
    )
    return 0


def measure(cell: str, seconds: float, disk: Path) -> dict[str, Any]:
    """Records `seconds` of a busy cell, with publisher and recorder in processes of their own. Raises GraphError.

    disk: a directory on the disk that is recorded to; nothing stays in it.
    """
    from vga_policy.bags.reader import Bag
    from vga_policy.cell.shipped import cell_path
    from vga_policy.episodes.metadata import load_episode
    from vga_policy.ros.client.recorder import RecorderClient
    from vga_policy.ros.client.session import Session
    from vga_policy.ros.environment import node_environment
    from vga_policy.ros.errors import GraphError

    from vga_bringup.graph.runner import command
    from vga_bringup.graph.spec import NodeSpec

    path = str(cell_path(cell))
    os.environ.update(node_environment(), ROS_DOMAIN_ID=DOMAIN)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="record_", dir=disk.absolute())))
        stamps = directory / "stamps.npz"
        parameters = {"cell": path, "directory": str(directory)}
        load = ["--ros-args", "-p", f"cell:={path}", "-p", f"stamps:={stamps}"]
        recorder = stack.enter_context(
            _process(command(NodeSpec("vga_teleop", "recorder_node", "recorder", parameters=parameters)))
        )
        publisher = stack.enter_context(_process([sys.executable, "-m", "vga_bringup.nodes.load_publisher", *load]))
        session = stack.enter_context(Session("vga_bench_record"))
        client = RecorderClient(session)

        def pause(duration: float = 0.0) -> None:
            session.spin_until(lambda: recorder.poll() is not None or publisher.poll() is not None, duration)
            if recorder.poll() is not None or publisher.poll() is not None:
                raise GraphError("recorder or publisher ended: see above")

        pause(SETTLING)
        episode_path = client.start("bench", within=START_WITHIN, check=pause)
        watched = {"recorder_cpu": recorder.pid, "publisher_cpu": publisher.pid}
        before = {name: _cpu_seconds(pid) for name, pid in watched.items()}
        began = time.monotonic()
        pause(seconds)
        took = time.monotonic() - began
        cpu = {name: (_cpu_seconds(pid) - before[name]) / took for name, pid in watched.items()}
        client.stop(DISCARDED)
        publisher.send_signal(signal.SIGINT)
        publisher.wait(START_WITHIN)
        with Bag(episode_path) as bag, np.load(stamps) as published:
            result = compare(bag, dict(published))
        episode = load_episode(episode_path)
        return {
            "seconds": round(took, 1),
            **{name: round(share, 3) for name, share in cpu.items()},
            "recorder_counted_lost": episode.messages_lost,
            **result,
            "megabytes": round(bag.file.stat().st_size / 1e6, 1),
            "cores": os.cpu_count(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        }


def compare(bag: Bag, published: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
    """What became of the messages published, by their header stamps (ns): lost, altered, and how late they came.

    Of each topic, what was published between the first and the last message recorded counts.
    """
    lost, exact = 0, True
    topics: dict[str, dict[str, Any]] = {}
    for topic, sent in sorted(published.items()):
        stamps, arrivals = bag.stamps(topic), bag.log_times(topic)
        expected = sent[(sent >= stamps.min()) & (sent <= stamps.max())]
        missing = len(np.setdiff1d(expected, stamps))
        lost += missing
        exact &= bool(np.isin(stamps, sent).all()) and len(np.unique(stamps)) == len(stamps)
        delay = (arrivals - stamps) / 1e6
        topics[topic] = {
            "messages": len(stamps),
            "rate_hz": round((len(stamps) - 1) / float(stamps.max() - stamps.min()) * SECOND, 2),
            "lost": missing,
            "latency_ms": {
                "p50": round(float(np.percentile(delay, 50)), 2),
                "p99": round(float(np.percentile(delay, 99)), 2),
                "max": round(float(delay.max()), 2),
            },
        }
    messages = sum(topic["messages"] for topic in topics.values())
    return {"messages": messages, "messages_lost": lost, "stamps_exact": exact, "topics": topics}


def _cpu_seconds(pid: int) -> float:
    """CPU time a running process has used, of all its threads (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards."""
    process = subprocess.Popen(arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
