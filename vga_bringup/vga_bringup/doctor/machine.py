"""The machine itself: kernel, limits, clock, disk, memory, GPU."""

from __future__ import annotations

import csv
import os
import pwd
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vga_policy.cell.schema import Cell
from vga_policy.processors import BUSY, Processors, overload
from vga_policy.ros.environment import REACH

from vga_bringup.doctor.finding import Finding, Health, needed

RTPRIO = 99  # libfranka asks for the highest priority
MEMLOCK = 100 * 1024 * 1024  # bytes; libfranka locks its memory
CLOCK_OFFSET = 0.010  # s; beyond it POLICY is refused across hosts
WATCHED_FOR = 1.0  # s
DISK = 20e9  # bytes; three cameras record about 16 GB an hour
# bytes; what a socket may keep, what ours does keep, and pieces of images in all. Linux's own 208 kB hold no image.
NETWORK = {"net.core.rmem_max": 16 << 20, "net.core.rmem_default": 4 << 20, "net.ipv4.ipfrag_high_thresh": 32 << 20}
SHARED_MEMORY = 256e6  # bytes; Fast DDS maps 4 MB and more a node, and Docker gives 64 MB unless told otherwise


def realtime(cell: Cell | None, sys: Path = Path("/sys")) -> Iterator[Finding]:
    """A PREEMPT_RT kernel, and the right to use it. Needed where the cell says `realtime: enforce`."""
    required = cell is not None and cell.arm.realtime == "enforce"
    kernel = f"{os.uname().release} ({'PREEMPT_RT' if _is_realtime(sys) else 'not real-time'})"
    if _is_realtime(sys):
        yield Finding("real-time kernel", Health.READY, kernel)
    else:
        remedy = "on the robot PC, boot a PREEMPT_RT kernel (Ubuntu Pro: pro enable realtime-kernel)"
        yield Finding("real-time kernel", needed(required), kernel, remedy)

    rtprio = _hard_limit(resource.RLIMIT_RTPRIO)
    memlock = _hard_limit(resource.RLIMIT_MEMLOCK)
    seen = f"rtprio {_words(rtprio)}, memlock {_words(memlock, 1024, ' kB')}"
    if (rtprio >= RTPRIO or os.geteuid() == 0) and memlock >= MEMLOCK:
        yield Finding("real-time limits", Health.READY, seen + (", root" if os.geteuid() == 0 else ""))
    else:
        remedy = (
            "in /etc/security/limits.d/realtime.conf: '@realtime - rtprio 99' and '@realtime - memlock 102400'; "
            "add yourself to the group realtime and log in again"
        )
        yield Finding("real-time limits", needed(required), seen, remedy)


def clock() -> Iterator[Finding]:
    """Offset of this machine's clock, from chrony. Matters when cameras, robot and policy run on several hosts."""
    if shutil.which("chronyc") is None:
        remedy = "needed with several PCs: apt-get install chrony on each, one of them the others' server"
        yield Finding("clock offset", Health.ABSENT, "chrony is not installed", remedy)
        return
    output = subprocess.run(["chronyc", "-c", "tracking"], capture_output=True, text=True, timeout=2)
    yield read_tracking(output.stdout)


def read_tracking(text: str) -> Finding:
    """The finding in the output of `chronyc -c tracking`."""
    fields = next(csv.reader([text.strip()]), [])
    if len(fields) < 14:
        return Finding("clock offset", Health.UNKNOWN, "chronyd does not answer", "systemctl start chrony")
    source, offset, leap = fields[1], float(fields[4]), fields[13]
    seen = f"{offset * 1e3:+.3f} ms to {source or fields[0]}"
    if leap == "Not synchronized":
        return Finding("clock offset", Health.ABSENT, "not synchronized", "needed with several PCs: chronyc sources -v")
    if abs(offset) > CLOCK_OFFSET:
        return Finding(
            "clock offset", Health.MISSING, seen, f"POLICY needs {CLOCK_OFFSET * 1e3:.0f} ms: chronyc makestep"
        )
    return Finding("clock offset", Health.READY, seen)


def processors() -> Iterator[Finding]:
    """Whether they have time left."""
    watched = Processors()
    time.sleep(WATCHED_FOR)
    busy = watched.busy
    if busy > BUSY:
        yield Finding(
            "processors", Health.ABSENT, f"{100 * busy:.0f} % busy: what runs may not have been found", overload(busy)
        )
    else:
        yield Finding("processors", Health.READY, f"{os.cpu_count()}, {100 * busy:.0f} % busy")


def disk() -> Iterator[Finding]:
    """Room for recordings where the command runs."""
    free = shutil.disk_usage(Path.cwd()).free
    seen = f"{free / 1e9:.0f} GB free in {Path.cwd()}"
    if free >= DISK:
        yield Finding("disk", Health.READY, seen)
    else:
        yield Finding("disk", Health.MISSING, seen, "three cameras record about 16 GB an hour: make room")


def shared_memory(memory: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Images travel between nodes through it."""
    try:
        size = shutil.disk_usage(memory).total
    except OSError as error:
        yield Finding("shared memory", Health.MISSING, f"{memory}: {error.strerror}", f"mount a tmpfs on {memory}")
        return
    seen = f"{size / 1e6:.0f} MB"
    if size >= SHARED_MEMORY:
        yield Finding("shared memory", Health.READY, seen)
    else:
        remedy = f"in a container: --ipc=host or --shm-size=1g; else: mount -o remount,size=1g {memory}"
        yield Finding("shared memory", Health.MISSING, seen, remedy)


def segment_owners(memory: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Fast DDS's shared memory of other users, which cannot be opened by one's own nodes, nor one's own by theirs."""
    owners: dict[str, int] = {}
    for file in memory.glob("fastrtps_*"):
        with suppress(OSError):  # gone meanwhile
            if (uid := file.stat().st_uid) != os.geteuid():
                owners[_user(uid)] = owners.get(_user(uid), 0) + 1
    if owners:
        seen = f"{memory} holds files of {', '.join(f'{user} ({count})' for user, count in sorted(owners.items()))}"
        remedy = (
            f"nodes of two users list each other's topics and get no data: run all as one user, in a container as well "
            f"(user: in compose.yaml); where no node of theirs runs: sudo rm {memory}/fastrtps_*"
        )
        yield Finding("shared memory, users", Health.ABSENT, f"{seen}: no data between them and you", remedy)


def network_buffers(settings: Path = Path("/proc/sys")) -> Iterator[Finding]:
    """What the kernel keeps of images that come over the network, in pieces. Matters with several PCs alone."""
    subject, reach = "network buffers", os.environ.get(REACH, "LOCALHOST")
    needed_here = reach == "SUBNET"
    values = {}
    for name in NETWORK:
        with suppress(OSError, ValueError):  # some containers do not show them
            values[name] = int((settings / name.replace(".", "/")).read_text())
    if not values:
        yield Finding(subject, Health.UNKNOWN, f"no numbers in {settings}", f"on the host: sysctl {' '.join(NETWORK)}")
        return
    seen = ", ".join(f"{name} {value}" for name, value in values.items())
    low = [f"{name}={least}" for name, least in NETWORK.items() if values.get(name, least) < least]
    if not low:
        yield Finding(subject, Health.READY, seen)
        return
    use = "images from another PC get lost" if needed_here else "needed with several PCs"
    remedy = f"{use}: sudo sysctl -w {' '.join(low)}; to keep it, the same in /etc/sysctl.d/60-vga.conf"
    yield Finding(subject, needed(needed_here), f"{seen}, discovery {reach}", remedy)


def gpu() -> Iterator[Finding]:
    """An NVIDIA GPU, for the policy."""
    remedy = "needed only where a large policy runs or trains: install NVIDIA's driver there"
    if shutil.which("nvidia-smi") is None:
        yield Finding("GPU", Health.ABSENT, "no NVIDIA driver", remedy)
        return
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=3)
    cards = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    if answer.returncode == 0 and cards:
        yield Finding("GPU", Health.READY, "; ".join(cards))
    else:
        yield Finding("GPU", Health.ABSENT, (answer.stdout + answer.stderr).strip() or "no GPU", remedy)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # of a container, or of the host
        return f"user {uid}"


def _is_realtime(sys: Path) -> bool:
    try:
        return (sys / "kernel/realtime").read_text().strip() == "1"
    except OSError:
        return "PREEMPT_RT" in os.uname().version


def _hard_limit(which: int) -> float:
    limit = resource.getrlimit(which)[1]
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def _words(limit: float, unit: int = 1, name: str = "") -> str:
    return "unlimited" if limit == float("inf") else f"{limit / unit:.0f}{name}"
