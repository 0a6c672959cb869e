"""Stands in for an executable and only records how it was called, in a file in $RECORDS."""

import json
import os
import pathlib
import sys

arguments = sys.argv[1:]
for i, argument in enumerate(arguments):
    if argument == "--params-file":  # launch removes it afterwards
        arguments[i] = "--params=" + pathlib.Path(arguments[i + 1]).read_text()
        arguments[i + 1] = ""
record = {"executable": sys.argv[0], "arguments": arguments, "environment": dict(os.environ)}
path = pathlib.Path(os.environ["RECORDS"], str(os.getpid()))
path.with_suffix(".part").write_text(json.dumps(record))
path.with_suffix(".part").rename(path.with_suffix(".json"))
