"""What tests of several files need; the rest of what they share is in `tests/support/`.

Generated examples are the same in every run, and none is failed for being slow.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import pytest
from hypothesis import settings
from support import watchdog
from support.browser import CHROMIUM
from support.owned import own_address, own_domain

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


# Of the whole, but they keep no real time.
TIMELESS = ("calibration", "commands_shown", "docs", "environment", "fuzz", "message_constants", "moved_cameras")
TIMELESS += ("older_artefacts", "options", "packages", "policy_refusals", "prose", "scripts", "version", "watchdog")
# What not every machine that runs tests has: whether it is there, how to get it, and the files of the tests.
OPTIONAL = (
    (find_spec("libero"), "make setup PURPOSES=libero", ("vga_policy/test/test_libero_*.py",)),
    (find_spec("rerun"), "make setup PURPOSES=viewers", ("vga_bringup/test/test_view_drawn.py", "tests/test_view*.py")),
    (find_spec("nicegui"), "make setup PURPOSES=panel", ("vga_bringup/test/test_panel*.py", "tests/test_panel*.py")),
    (
        find_spec("fieldtrial"),
        "make setup PURPOSES=trials",
        ("*/test/test_study*.py", "tests/test_study*.py", "*/test/test_panel_model.py"),
    ),
    (CHROMIUM, "apt-get install chromium", ("tests/test_panel*.py",)),
)
ABSENT = [(remedy, files) for there, remedy, files in OPTIONAL if not there]
collect_ignore_glob = [file for _, files in ABSENT for file in files]
# Of a package, but a servo's bus gives an answer some milliseconds, and what is idle waits for a processor.
TIMED = ("gello_bus", "sim_leader", "view_drawn")
# For `make test-long`, as are single tests that are marked so.
LONG = ("accelerate_launch", "demo_and_collect", "in_process_parity", "judge_chunks", "judge_offline", "panel_cost")
LONG += ("panel_stops", "record_policy", "rendered_overfit", "study", "study_attended", "train_plan")
WATCHDOG: pytest.StashKey[IO[bytes]] = pytest.StashKey()
HANGS = 600.0  # s; twice the timeout of a test, which raises in Python only


def pytest_configure(config: pytest.Config) -> None:
    """What a shell starts in the background is deaf to Ctrl-C, and so is all that it starts: tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.getoption("numprocesses", None):  # else the workers run the tests
        config.stash[WATCHDOG] = watchdog.start(HANGS)


def pytest_report_header() -> list[str]:
    """What is left out is said."""
    return [f"not collected: {' '.join(files)}; {remedy}" for remedy, files in ABSENT]


def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Tells the watchdog that a test begins."""
    item.config.stash[WATCHDOG].write(f"{item.nodeid}\n".encode())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Reads no file of another kind than is asked for: to import them all takes 20 s."""
    asked = config.getoption("markexpr")
    return True if asked in ("unit", "realtime") and kind(collection_path) not in (asked, None) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by where it is and what it asks for."""
    for item in items:
        if not item.get_closest_marker("long"):
            item.add_marker(getattr(pytest.mark, kind(item.path) or "unit"))
        if "ros_domain" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.process)


def kind(path: Path) -> str | None:
    """The marker of a file's tests, of those that are not marked long themselves; None for what is no file of tests."""
    if not path.name.startswith("test_"):
        return None
    name = path.stem.removeprefix("test_")
    if name in LONG:
        return "long"
    if name in TIMED or (path.is_relative_to(Path(__file__).with_name("tests")) and name not in TIMELESS):
        return "realtime"
    return "unit"


@pytest.fixture(scope="module")
def ros_domain() -> Iterator[int]:
    """A ROS domain of this test file's own, on which it and the processes it starts are."""
    with own_domain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


@pytest.fixture(scope="module")
def robot_address() -> str:
    """A loopback address of this test file's own, for an arm or what plays one."""
    return own_address()


@pytest.fixture(scope="module")
def sim_cell(robot_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the simulated cell with its arm at `robot_address`."""
    from support.cells import write_cell

    return write_cell(tmp_path_factory.mktemp("cell"), robot_address)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch computes on one core: small models are no faster on more, and other tests run beside."""
    import torch  # here: not every machine that runs tests has it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
