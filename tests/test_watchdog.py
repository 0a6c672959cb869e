"""A test that hangs in what Python cannot interrupt ends its process, with the stacks of it."""

import subprocess
import sys

DEAF = """
import ctypes, sys
sys.path.insert(0, "tests")
import faulthandler; faulthandler.enable()
from support import watchdog
told = watchdog.start(1.0)
told.write(b"a test\\n")
ctypes.PyDLL(None).{hangs}
"""


def hanging(root, hangs):
    return subprocess.run([sys.executable, "-c", DEAF.format(hangs=hangs)], cwd=root, capture_output=True, text=True)


def test_what_is_deaf_to_python_is_ended_with_its_stack(pytestconfig):
    ended = hanging(pytestconfig.rootpath, "sleep(60)")
    assert ended.returncode < 0
    assert "nothing has begun for 1 s after a test: process " in ended.stderr
    assert "Current thread" in ended.stderr


def test_who_ends_in_time_is_left_alone(pytestconfig):
    ended = hanging(pytestconfig.rootpath, "sleep(0)")
    assert (ended.returncode, ended.stderr) == (0, "")
