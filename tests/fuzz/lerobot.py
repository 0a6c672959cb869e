"""LeRobot datasets: their JSON, Parquet and video, damaged, or legal and unexpected."""

from pathlib import Path
from random import Random

from fuzz import draw
from fuzz.entrance import Case, Seen
from fuzz.files import change, json_values
from fuzz.valid import CELL

PLACES = ("meta/info.json", "meta/info.json", "meta/vga.json", "tasks", "episodes", "data", "data", "video", "stats")


def damage(case: Case) -> Path:
    rng = case.rng
    kind = rng.choice(("images", "video"))
    root = case.copy(kind, "dataset")
    for _ in range(draw.count(rng)):
        place = rng.choice(PLACES)
        if place.endswith(".json"):
            if (root / place).exists():
                change(root / place, rng, json_values)
            continue
        pattern = {
            "tasks": "meta/tasks.parquet", "episodes": "meta/episodes/*/*.parquet", "data": "data/*/*.parquet",
            "video": "videos/**/*.mp4", "stats": "meta/stats.json",
        }[place]  # fmt: skip
        for file in sorted(root.glob(pattern))[:1]:
            if file.suffix == ".parquet" and rng.random() < 0.75:
                _rewrite(file, rng)
            elif rng.random() < 0.03:
                file.unlink()
            else:
                change(file, rng, draw.data)
    return root


def use(case: Case, root: Path, seen: Seen) -> None:
    """Checked and imported, and what was imported read."""
    out = case.directory / "imported"
    seen.vga("check", root)
    status = seen.vga("import", "lerobot", root, out, "--cell", CELL)
    if not status and case.number % 3 == 0:
        seen.vga("check", out)


def _rewrite(file: Path, rng: Random) -> None:
    """The table with one change: of a column, a value, or its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except Exception:  # damaged by an earlier fault
        return
    name = rng.choice([column for column in table.column_names if not column.startswith("stats/")] or [""])
    at = table.column_names.index(name) if name else 0
    way = rng.randrange(8)
    try:
        if way == 0:
            table = table.drop_columns([name])
        elif way == 1:
            table = table.rename_columns([f"{each}x" if each == name else each for each in table.column_names])
        elif way == 2:
            table = table.set_column(at, name, pa.nulls(len(table), table.schema.field(name).type))
        elif way == 3:
            table = table.set_column(at, name, _changed(table[name].to_pylist(), rng))
        elif way == 4:
            extra = [[{"t": float(i), "text": "x"}] * (i % 3) for i in range(len(table))]
            table = table.append_column("language_events", pa.array(extra))
        elif way == 5:
            start = rng.randrange(len(table))
            table = pa.concat_tables(
                [table.slice(0, start), table.slice(min(len(table), start + rng.choice((1, 5, 1000))))]
            )
        elif way == 6:
            table = pa.concat_tables([table, table.slice(0, rng.randrange(1, len(table) + 1))])
        else:
            table = table.set_column(at, name, pa.array([[value] for value in table[name].to_pylist()]))
    except (pa.ArrowException, ValueError, TypeError, OverflowError, IndexError):
        return  # no table can be so
    file.unlink()
    pq.write_table(table, file)


def _changed(values: list, rng: Random):
    """A column with other values in some rows, or in all."""
    import pyarrow as pa

    if not values:
        return pa.array(values)
    chosen = [rng.randrange(len(values))] if rng.random() < 0.6 else range(len(values))
    for row in chosen:
        values[row] = draw.value(rng, values[row])
        if isinstance(values[row], list | dict) and rng.random() < 0.5:
            values[row] = draw.tree(rng, values[row])
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([str(value)[:100] for value in values])
