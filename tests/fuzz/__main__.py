"""`python -m fuzz`: see `make fuzz`."""

import argparse
import sys
from pathlib import Path

from fuzz.entrances import ENTRANCES
from fuzz.run import run


def main() -> int:
    """Exit status 1 if any case ended in a traceback, a hang, out of memory, or cost another episode."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Damaged input at every entrance.")
    parser.add_argument(
        "--seconds", type=float, default=780.0, help="after which no case begins (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="what cases are drawn with (default: %(default)s)")
    parser.add_argument("--inputs", type=int, help="of each entrance (default: 1000, messages 200)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="entrances with a WORD in their names")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one a processor)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    arguments = parser.parse_args()
    chosen = [entrance for entrance in ENTRANCES if any(word in entrance.name for word in arguments.only)]
    if not chosen:
        parser.error(f"--only: no such entrance; there are {', '.join(entrance.name for entrance in ENTRANCES)}")
    report = run(
        chosen,
        arguments.out.absolute(),
        seed=arguments.seed,
        seconds=arguments.seconds,
        inputs=arguments.inputs,
        first=arguments.first,
        workers=arguments.workers,
    )
    _print(report)
    return 1 if report["failed"] else 0


def _print(report: dict) -> None:
    columns = ("inputs", "accepted", "traceback", "hang", "out of memory", "batch lost", "died")
    for name, about in report["entrances"].items():
        print(f"{name:45}" + "  ".join(f"{column} {about[column]}" for column in columns))
    shown = {}
    for name, about in report["entrances"].items():
        for failure in about["failures"]:
            shown.setdefault(
                (name, failure["result"], failure["words"][-1] if failure["words"] else ""), failure["number"]
            )
    for (name, result, words), number in list(shown.items())[:40]:
        print(f"{name}, case {number}: {result}: {words[:200]}", file=sys.stderr)
    few = [name for name, about in report["entrances"].items() if about["inputs"] < about["wanted"]]
    if few:
        print(f"time was over before all inputs of {', '.join(few)}", file=sys.stderr)
    print(f"{report['failed']} failures in {report['seconds']} s: out/fuzz/report.json; inputs in out/fuzz/failing")


if __name__ == "__main__":
    sys.exit(main())
