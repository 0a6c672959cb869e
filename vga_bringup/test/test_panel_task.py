"""The panel's tasks, and what the panel says of a recorder on another PC."""

import threading
from pathlib import Path
from types import SimpleNamespace

from vga_bringup.panel.robot import disk_free
from vga_bringup.panel.task import PanelTask
from vga_policy.message_constants import TaskOutcome


def test_a_directory_that_may_not_be_seen_has_no_room_that_is_known(monkeypatch):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    assert disk_free(Path("/home/robot/episodes")) is None


class Driver:
    """Waits in POLICY's request until it is let on."""

    mode = state = None

    def __init__(self, log):
        self.asked, self.answers, self._log = threading.Event(), threading.Event(), log

    def policy(self):
        self.asked.set()
        self.answers.wait(5.0)
        self._log.append("POLICY")

    def hold(self):
        self._log.append("HOLD")


def test_a_task_that_is_canceled_while_the_driver_is_asked_does_not_begin():
    log = []
    driver = Driver(log)
    policy = SimpleNamespace(
        offered=True,
        orphaned=False,
        done=True,
        start=lambda *_: log.append("task"),
        cancel_whosever=lambda: False,
        cancel=lambda: SimpleNamespace(outcome=TaskOutcome.CANCELED, message="canceled", steps=0, chunks=0),
    )
    session = SimpleNamespace(spin_until=lambda done, timeout=None: done())
    task = PanelTask(session, driver, policy, SimpleNamespace(state=None, offered=False), "")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(task.perform("pick it up")))
    thread.start()
    assert driver.asked.wait(5.0)
    assert task.cancel() == "the task is being ended"
    driver.answers.set()
    thread.join()
    assert (answers, log) == (["canceled"], ["POLICY", "HOLD"])
