"""A recorded episode or trial as events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vga_policy.bags.reader import Bag, BagError
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import parse_cell
from vga_policy.episodes import topics

from vga_bringup.description.urdf import robot_description
from vga_bringup.view.events import BagMessage


class Recorded:
    """One bag, open for reading; close it.

    path: of its directory. urdf: the robot's, or for a bag without one that of the cell it was recorded with. fixed:
    messages of tf_static. topic_names: of what it holds. views: cameras that a policy saw, in its order.
    """

    def __init__(self, path: Path) -> None:
        """Raises BagError when it is no bag of a cell."""
        self.path = path
        self.bag = Bag(path)
        self.topic_names = {name for name, topic in self.bag.topics.items() if topic.messages}
        self.fixed = list(self._messages(topics.TF_STATIC))
        texts = [message.data for message in self._messages(topics.ROBOT_DESCRIPTION)]
        chunks = self._messages(topics.ACTION_CHUNK)
        self.views = tuple(next((chunk.cameras for chunk in chunks), ()))
        self.urdf = texts[-1] if texts else self._described()

    def close(self) -> None:
        """Lets go of the file."""
        self.bag.close()

    def events(self, wanted: Callable[[str], bool]) -> Iterator[BagMessage]:
        """Every message of the topics that are wanted, in the order of arrival. Raises BagError."""
        names = [name for name in sorted(self.topic_names) if wanted(name)]
        codecs = {name: self.bag.codec(name) for name in names}
        for _, name, index in self.bag.in_order(names):
            yield BagMessage(name, self.bag.raw(name, index), codecs[name])

    def _described(self) -> str:
        try:
            return robot_description(parse_cell(self.bag.metadata["cell"], str(self.path)))
        except KeyError:
            raise BagError(f"{self.path}: recorded by another program: it does not say of which cell") from None
        except CellError as error:
            raise BagError(str(error).splitlines()[0]) from None

    def _messages(self, topic: str) -> Iterator[Any]:
        return self.bag.messages(topic) if topic in self.topic_names else iter(())
