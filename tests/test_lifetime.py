"""How a node's process takes the signals that end it."""

import signal
import subprocess
import sys

import pytest
from support.nodes import program


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_in_order_though_a_signal_comes_again(ros_domain, first, second):
    with subprocess.Popen([sys.executable, program("slow_to_end")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "runs\n"
        process.send_signal(first)
        assert process.stdout.readline() == "ends\n"
        process.send_signal(second)
        assert process.wait(30) == 0
