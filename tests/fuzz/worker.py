"""A process that tries cases one after another, with bounded memory."""

import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import NamedTuple

OK, TRACEBACK, HANG, MEMORY, LOST, DIED = "ok", "traceback", "hang", "out of memory", "batch lost", "died"
WARM_UP, WARM_UP_SEED = 3, -1  # cases of each entrance that count for nothing
MARGIN = 2 * 2**30  # bytes of addresses that a case may take besides what the process has
LONGEST = 200  # characters of a line besides paths
PATH = re.compile(r"(/[^\s:;,'\")]*)+")
# What an exception nobody expected looks like after somebody caught it: the name of its class.
CLASS = re.compile(r"\b_?[A-Z]\w*(?:Error|Warning|Interrupt)\b|\b(?:Exception|StopIteration|struct\.error)\b")
MEMORIES = ("MemoryError", "Unable to allocate", "can't allocate memory", "bad_alloc", "Cannot allocate memory")


class Outcome(NamedTuple):
    """What became of a case. words: the end of a traceback, or what is odd in what was said."""

    result: str
    words: str = ""
    accepted: bool = False
    long_line: str = ""
    seconds: float = 0.0


def work(
    jobs: Connection, names: Sequence[str], valid: Path, scratch: Path, prepare: Callable[[], None] | None
) -> None:
    """Takes (entrance, seed, number) and sends Outcomes until it is told None.

    names: of the entrances. prepare: called once, after what is only loaded on use was.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from fuzz.entrances import ENTRANCES, import_all

    sys.stdout.reconfigure(errors="replace")
    import_all()
    by_name = {entrance.name: entrance for entrance in ENTRANCES if entrance.name in names}
    for entrance in by_name.values():
        for number in range(WARM_UP):
            attempt(entrance, WARM_UP_SEED, number, valid, scratch)
    if prepare is not None:
        prepare()
    jobs.send(None)  # ready
    while (job := jobs.recv()) is not None:
        name, seed, number = job
        _limit_memory(MARGIN)
        jobs.send(attempt(by_name[name], seed, number, valid, scratch))


def attempt(entrance, seed: int, number: int, valid: Path, scratch: Path) -> Outcome:
    """One case, its input left in `scratch` when something was wrong."""
    from fuzz.entrance import Case, Seen

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    case, seen, started = (
        Case(Random(f"{seed}:{entrance.name}:{number}"), number, valid, scratch),
        Seen(),
        time.monotonic(),
    )
    given = None
    try:
        given = entrance.damage(case)
        entrance.use(case, given, seen)
        result, words = judge(seen)
    except MemoryError:
        result, words = MEMORY, _last_lines()
    except BaseException as error:
        result, words = (MEMORY if _is_memory(str(error)) else TRACEBACK), _last_lines()
    _limit_memory(None)
    if result != OK and not list(scratch.iterdir()):
        with suppress(OSError, UnicodeError):
            (scratch / "input.txt").write_text(repr(given))
    long_line = next((line for line in seen.words if len(PATH.sub("", line)) > LONGEST), "")
    return Outcome(result, words, seen.accepted, long_line[:400], time.monotonic() - started)


def judge(seen) -> tuple[str, str]:
    """Whether what the commands said is what they say of damaged input."""
    for line in seen.words:
        if _is_memory(line):
            return MEMORY, line[:400]
        if CLASS.search(line) or line.startswith("Traceback"):
            return TRACEBACK, f"said: {line[:400]}"
    return (LOST, "; ".join([*seen.lost, *seen.words])[:600]) if seen.lost else (OK, "")


def _is_memory(words: str) -> bool:
    return any(each in words for each in MEMORIES)


def _last_lines() -> str:
    return "".join(traceback.format_exc(limit=-6)).strip()[-1500:]


def _limit_memory(margin: int | None) -> None:
    """Lets the process take so many bytes of addresses more than it has; None: as many as there are."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = resource.RLIM_INFINITY if margin is None else pages * resource.getpagesize() + margin
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
