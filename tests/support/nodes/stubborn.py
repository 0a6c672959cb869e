"""What ends on no signal that can be ignored, nor does its helper, whose process id it writes: `stubborn.py FILE`."""

import signal
import subprocess
import sys
import time
from pathlib import Path

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
helper = subprocess.Popen(["sleep", "1000"])
Path(sys.argv[1]).write_text(str(helper.pid))
time.sleep(1000)
