"""Runs the commands that the tutorials and how-to pages show, as they stand there: make docs-run.

    python scripts/run_docs.py [PAGE ...]        pages below docs/; default: all tutorials and how-to pages

Each page has a directory of its own below out/docs-run, where its blocks of commands run one after the other. A comment
before a block, which no reader sees, says what is to be known of it:

    <!-- skip: needs the robot -->               why the block is not run
    <!-- background: ready after -->             it goes on until the page's end; the next waits until it prints this

A comment `<!-- prepare: COMMAND -->` anywhere runs what the reader has at that point from elsewhere. Blocks of ```text
are what is printed, those of other languages are no commands.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SCRATCH = ROOT / "out/docs-run"
WITHIN = 900.0  # s that a block may take, or a background one until it prints what is awaited
COMMENT = r"<!-- (?P<word>skip|background): (?P<value>[^\n]*?) -->\n"
BLOCK = re.compile(rf"(?:{COMMENT}\s*)?^```(?P<language>\w*)\n(?P<commands>.*?)^```$", re.DOTALL | re.MULTILINE)
PREPARE = re.compile(r"^<!-- prepare: (?P<commands>.*?) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A block of commands of a page. word, value: of the comment before it; empty where there is none."""

    commands: str
    word: str = ""
    value: str = ""

    @property
    def title(self) -> str:
        """Its first line."""
        return self.commands.strip().splitlines()[0][:100]


def steps(text: str) -> list[Step]:
    """Everything to run of a page, in its order."""
    found = [
        (match.start("commands"), Step(match["commands"], match["word"] or "", match["value"] or ""))
        for match in BLOCK.finditer(text)
        if match["language"] in ("", "sh", "bash")
    ]
    found += [(match.start("commands"), Step(match["commands"])) for match in PREPARE.finditer(text)]
    return [step for _, step in sorted(found, key=lambda each: each[0])]


def pages(names: list[str]) -> list[Path]:
    """The pages of these names, or all whose commands are run."""
    if unknown := [name for name in names if not (DOCS / name).is_file()]:
        sys.exit(f"no page {', '.join(unknown)} in docs: give one as how-to/curate.md, or none for all")
    return [DOCS / name for name in names] or [*sorted(DOCS.glob("tutorials/*.md")), *sorted(DOCS.glob("how-to/*.md"))]


def run_page(page: Path) -> Iterator[tuple[Step, str]]:
    """Runs a page. Yields each step and how it went: "skipped: …", "12 s", or "FAILED …"; a failure ends the page."""
    home = SCRATCH / page.relative_to(DOCS).with_suffix("")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    for package in ROOT.glob("vga_*"):
        (home / package.name).symlink_to(package)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, step in enumerate(steps(page.read_text())):
            if step.word == "skip":
                yield step, f"skipped: {step.value}"
                continue
            log = home / f"{number}.log"
            started = time.monotonic()
            process = _start(step, home, log)
            if step.word == "background":
                running.append(process)
                problem = _await(process, log, step.value)
            else:
                problem = _finish(process)
            yield (
                step,
                f"FAILED: {problem}, {log.relative_to(ROOT)}" if problem else f"{time.monotonic() - started:.0f} s",
            )
            if problem:
                return
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
            _finish(process)


def _start(step: Step, home: Path, log: Path) -> subprocess.Popen[bytes]:
    """A shell of its own group, as a person's has: Ctrl-C is for the command in it."""
    command = f"exec {step.commands}" if step.word == "background" else step.commands
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _finish(process: subprocess.Popen[bytes]) -> str:
    """What is wrong with its end, empty for nothing."""
    try:
        status = process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"not over after {WITHIN:.0f} s"
    return f"exit status {status}" if status else ""


def _await(process: subprocess.Popen[bytes], log: Path, words: str) -> str:
    """Waits until it has printed the words. What is wrong, empty for nothing."""
    until = time.monotonic() + WITHIN
    while words not in log.read_text(errors="replace"):
        if process.poll() is not None:
            return f"ended with status {process.returncode}"
        if time.monotonic() > until:
            return f"did not print {words!r} in {WITHIN:.0f} s"
        time.sleep(0.2)
    return ""


def main(names: list[str]) -> int:
    """Runs the pages and returns the exit status: 1 when a step failed."""
    failed = 0
    for page in pages(names):
        print(page.relative_to(ROOT), flush=True)
        for step, outcome in run_page(page):
            print(f"    {step.title}\n        {outcome}", flush=True)
            failed += outcome.startswith("FAILED")
    print(f"{failed} failed" if failed else "all that was run succeeded")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
