"""A Rerun recording that is written many rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

APPLICATION = "vga view"
TIME = "time"


class ViewError(Exception):
    """What cannot be looked at. The message says why and what to do."""


def load_rerun() -> Any:
    """The package. Raises ViewError where it is not installed."""
    try:
        import rerun
        import rerun.blueprint
    except ImportError:
        raise ViewError("Rerun is not installed: make setup PURPOSES=viewers") from None
    return rerun


class Sheet:
    """One recording. Rows wait until `flush`: Rerun takes a column of a hundred for little more than one row.

    rerun: the package.
    """

    def __init__(self, name: str) -> None:
        """Raises ViewError as `load_rerun`."""
        self.rerun = load_rerun()
        self._stream = self.rerun.RecordingStream(APPLICATION, recording_id=name)
        self._stream.set_log_time_enabled(False)
        self._stream.set_log_tick_enabled(False)
        self._name = name
        self._waiting: dict[tuple[str, str], tuple[list[int], dict[str, list[Any]]]] = {}

    def save(self, file: Path) -> None:
        """Goes into this file."""
        self._stream.save(file)
        self._stream.send_recording_name(self._name)

    def connect(self, address: str) -> None:
        """Goes to the viewer, or the server of one, at this address."""
        self._stream.connect_grpc(address)
        self._stream.send_recording_name(self._name)

    def arrange(self, blueprint: Any) -> None:
        """What is to be seen where."""
        self._stream.send_blueprint(blueprint)

    def still(self, entity: str, *archetypes: Any) -> None:
        """Draws what does not change."""
        self._stream.log(entity, *archetypes, static=True)

    def at(self, stamp: int, entity: str, *archetypes: Any) -> None:
        """Draws it now, as of `stamp` (ns)."""
        self._stream.set_time(TIME, timestamp=np.datetime64(stamp, "ns"))
        self._stream.log(entity, *archetypes)

    def row(self, stamp: int, entity: str, archetype: str, **fields: Any) -> None:
        """A row of the columns of an archetype, by its name, as of `stamp` (ns); drawn with the next `flush`."""
        stamps, columns = self._waiting.setdefault((entity, archetype), ([], {}))
        stamps.append(stamp)
        for name, value in fields.items():
            columns.setdefault(name, []).append(value)

    def flush(self) -> None:
        """Draws what waits."""
        waiting, self._waiting = self._waiting, {}
        for (entity, archetype), (stamps, fields) in waiting.items():
            index = self.rerun.TimeColumn(TIME, timestamp=np.array(stamps, "datetime64[ns]"))
            columns = getattr(self.rerun, archetype).columns(**fields)
            self._stream.send_columns(entity, indexes=[index], columns=columns)

    def close(self) -> None:
        """Draws what waits, and ends the recording."""
        self.flush()
        self._stream.flush()
        self._stream.disconnect()
