"""`vga doctor`, run beside the panel when it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from vga_bringup.doctor.finding import Health
from vga_bringup.panel.model import Examination, Remedied

ENDS_WITHIN = 30.0  # s


def examine(namespace: str) -> Examination:
    """What it finds now; it takes some seconds, in a process of its own."""
    words = ["doctor", "--json", *(["--namespace", namespace] if namespace else [])]
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "vga_policy", *words], capture_output=True, text=True, timeout=ENDS_WITHIN
        )
        told = json.loads(answer.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return Examination(at=time.strftime("%H:%M"), problem="vga doctor gave no answer: run it in a terminal")
    return read(told, time.strftime("%H:%M"))


def read(told: dict[str, list[dict[str, str]]], at: str) -> Examination:
    """What `vga doctor --json` printed, as findings; the worst first."""
    order = (Health.MISSING, Health.UNKNOWN, Health.ABSENT)
    others = sorted(
        (row for row in told["findings"] if row["state"] != Health.READY), key=lambda r: order.index(r["state"])
    )
    return Examination(
        ready=len(told["findings"]) - len(others),
        others=tuple(Remedied(row["subject"], row["state"], row["seen"], row["remedy"]) for row in others),
        at=at,
    )
