"""What the cell's success_topic says of a task."""

from types import SimpleNamespace

import pytest
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell, parse_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.ros.client.success import SuccessSignal

CELL = load_cell(cell_path("sim"))


@pytest.fixture
def said():
    """A signal, and what publishes it."""
    heard = {}

    def create_subscription(_kind, name, callback, _qos):
        heard["say"] = lambda value: callback(SimpleNamespace(data=value))
        return SimpleNamespace(topic_name=f"/left/{name}")

    session = SimpleNamespace(node=SimpleNamespace(create_subscription=create_subscription))
    return SuccessSignal(session, "/cell/done"), heard["say"]


def test_a_task_is_done_when_the_topic_says_so(said):
    signal, say = said
    signal.begin()
    assert not signal.done
    say(False)
    assert not signal.done
    say(True)
    assert signal.done
    assert signal.topic == "/left/cell/done"  # in the robot's namespace


def test_what_was_true_before_the_task_counts_once_it_has_been_false(said):
    signal, say = said
    say(True)
    signal.begin()
    assert not signal.done
    assert signal.left_on
    say(True)
    assert not signal.done
    say(False)
    say(True)
    assert signal.done
    assert not signal.left_on


def test_the_cell_file_names_it():
    assert CELL.success_topic == ""
    named = CELL.model_copy(update={"success_topic": "/scale/done"})
    assert parse_cell(dump_cell(named)).success_topic == "/scale/done"
    with pytest.raises(CellError, match="success_topic"):
        parse_cell(dump_cell(CELL.model_copy(update={"success_topic": "is it done?"})))
