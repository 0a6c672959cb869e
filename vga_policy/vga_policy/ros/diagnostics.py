"""What a node says of its health on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def diagnostic(
    name: str, hardware_id: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """One part of a node, called "<node>: <part>", and its figures: floats to four digits, all else as it prints."""
    return DiagnosticStatus(
        name=name,
        hardware_id=hardware_id,
        level=level,
        message=message,
        values=[
            KeyValue(key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value))
            for key, value in values.items()
        ],
    )


def judged(problem: str, warning: str, fine: str) -> tuple[bytes, str]:
    """Level and message: ERROR with the problem, else WARN with the warning, else OK with what is fine."""
    if problem:
        return ERROR, problem
    return (WARN, warning) if warning else (OK, fine)
