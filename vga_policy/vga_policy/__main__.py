"""`python -m vga_policy` is the `vga` command."""

import sys

from vga_policy.cli import main

sys.exit(main())
