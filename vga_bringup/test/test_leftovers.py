"""Shared memory that killed processes left behind goes; that of the living and of others stays, wherever they run."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from vga_bringup.graph import shared_memory
from vga_bringup.graph.shared_memory import remove_leftovers
from vga_bringup.sim.physics.shared import Segment, remove_segments, segment_path

NOBODY = 65534
IN_ANOTHER_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
REMOVE = """
import json, os, sys
from pathlib import Path
from vga_bringup.graph import shared_memory
shared_memory.SETTLING = 0.0
if sys.argv[2:]:
    os.setuid(int(sys.argv[2]))
print(json.dumps(shared_memory.remove_leftovers(Path(sys.argv[1]))))
"""
HOLD = """
import sys, time
from pathlib import Path
from vga_bringup.sim.physics.shared import Segment
segment = Segment.create(Path(sys.argv[1]), 8)
print("made", flush=True)
time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(shared_memory, "SETTLING", 0.0)


def remove(memory, *arguments, launcher=()):
    """What a runner in a process of its own removes."""
    command = [*launcher, sys.executable, "-c", REMOVE, str(memory), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def holder(tmp_path):
    """A process that lives with a segment."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "vga_sim-x-state")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"made\n"
    yield process
    process.kill()
    process.wait()


def test_a_living_cells_memory_stays_for_a_runner_that_does_not_see_its_process(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(shared_memory, "_mapped_names", lambda _: set())  # as in another container
    assert remove_leftovers(tmp_path) == []
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert remove_leftovers(tmp_path) == ["vga_sim-x-state"]


def test_a_living_cells_memory_stays_in_another_namespace_of_processes(tmp_path, holder):
    allowed = subprocess.run([*IN_ANOTHER_NAMESPACE, "true"], capture_output=True).returncode == 0
    elsewhere = IN_ANOTHER_NAMESPACE if allowed else ()
    assert remove(tmp_path, launcher=elsewhere) == []
    assert (tmp_path / "vga_sim-x-state").exists()
    holder.kill()
    holder.wait()
    assert remove(tmp_path, launcher=elsewhere) == ["vga_sim-x-state"]


def test_a_reader_that_goes_takes_no_lock_along(tmp_path):
    path = tmp_path / "vga_sim-x-state"
    segment = Segment.create(path, 8)
    Segment.attach(path).close()
    with path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    segment.close()
    assert not path.exists()


def test_what_has_no_lock_is_nobodys_to_take(tmp_path):
    for name in ("vga_sim-x-other", "vga_sim-empty", "fastrtps_0123"):
        (tmp_path / name).write_bytes(b"" if "empty" in name else bytes(64))
    assert remove_leftovers(tmp_path) == []
    (tmp_path / "fastrtps_0123_el").touch()
    assert remove_leftovers(tmp_path) == ["fastrtps_0123"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vga_sim-empty", "vga_sim-x-other"]


def test_a_held_lock_of_either_kind_keeps_a_segment(tmp_path):
    for suffix in ("_el", "_sl"):
        (tmp_path / "fastrtps_7").touch()
        with (tmp_path / f"fastrtps_7{suffix}").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            assert remove_leftovers(tmp_path) == []
        assert remove_leftovers(tmp_path) == ["fastrtps_7"]
        assert not list(tmp_path.iterdir())


@pytest.fixture
def shared_directory():
    """Where everybody may make files and remove their own, as /dev/shm; tmp_path is closed to other users."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o1777)
        yield Path(directory)


def test_other_users_files_in_a_sticky_directory_are_left_without_a_word(shared_directory):
    for name in ("fastrtps_x", "fastrtps_x_el", "fastrtps_port7412", "vga_sim-plain"):
        (shared_directory / name).touch()
    segment = Segment.create(shared_directory / "vga_sim-live-state", 8)
    before = sorted(os.listdir(shared_directory))
    if os.geteuid() == 0:
        own = shared_directory / "fastrtps_port7413"
        own.touch()
        os.chown(own, NOBODY, NOBODY)
        assert remove(shared_directory, NOBODY) == ["fastrtps_port7413"]
    else:  # no other user can be had: a directory that lets nothing be removed
        shared_directory.chmod(0o555)
        assert remove(shared_directory) == []
    assert sorted(os.listdir(shared_directory)) == before
    shared_directory.chmod(0o700)
    segment.close()


def test_a_directory_that_may_not_be_listed_raises_nothing(shared_directory):
    (shared_directory / "fastrtps_port1").touch()
    shared_directory.chmod(0o000)
    assert remove(shared_directory, *([NOBODY] if os.geteuid() == 0 else [])) == []
    shared_directory.chmod(0o700)


def test_what_ended_children_left_is_removed_past_what_is_no_segment():
    address = f"leftovers-{os.getpid()}"
    odd, segment = segment_path(address, "odd"), Segment.create(segment_path(address, "state"), 8)
    odd.touch()
    try:
        remove_segments(address, [os.getpid()])
        assert segment.replaced
        assert odd.exists()
    finally:
        odd.unlink()


def test_a_directory_that_changes_meanwhile_raises_nothing(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"fastrtps_{number}").touch()
        (tmp_path / f"fastrtps_{number}_el").touch()
    remove_one = shared_memory._remove

    def gone_before(file):
        raise FileNotFoundError(file) if file.name.endswith("3") else PermissionError(file)

    monkeypatch.setattr(shared_memory, "_remove", gone_before)
    assert remove_leftovers(tmp_path) == []
    monkeypatch.setattr(shared_memory, "_remove", remove_one)
    assert len(remove_leftovers(tmp_path)) == 20
    assert remove_leftovers(tmp_path / "absent") == []
