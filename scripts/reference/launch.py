"""The page of launch files, from the graph's options."""

from __future__ import annotations

import ast
from pathlib import Path

from vga_bringup.graph import spec

from reference.markdown import MADE, code, table

LAUNCH = Path(__file__).parents[2] / "vga_bringup/launch"

INTRODUCTION = f"""\
# Launch files

```
ros2 launch vga_bringup record.launch.py cell:=my_cell.yaml episodes:=episodes
```

Each file starts a part of the node graph. A name of a cell that `vga_bringup` ships stands for its path: `sim`, `lab`,
`lab_panda`. Where there is no `ros2`, `vga sim` takes the options of `sim.launch.py` as `--cell`, `--record` and so on.

{MADE.format(source="`vga_bringup/graph/spec.py`")}
"""


def launch_page() -> str:
    """Every launch file with its arguments."""
    return "\n".join([INTRODUCTION, *(_section(path) for path in sorted(LAUNCH.glob("*.launch.py")))])


def _section(path: Path) -> str:
    purpose = ast.get_docstring(ast.parse(path.read_text())) or ""
    graph = getattr(spec, path.name.replace(".launch.py", "_graph"))
    rows = [
        (code(f"{name}:="), code(spec.to_text(default)) or "empty", spec.OPTIONS[name])
        for name, default in spec.options(graph).items()
    ]
    return f"## {path.name}\n\n{purpose}\n\n{table(('argument', 'default', 'meaning'), rows)}"
