"""`vga ablate`: a part of the policy switched off at a time (Table 2), fewer demonstrations, smaller ranks (figure 7).

Every variant is an ordinary run of `vga train` below the ablation's directory. One that was interrupted is gone on
with, one that is finished is not trained again. `vga eval ablation` tries them all on the same scenes.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vga_policy.evaluate.intervals import mean_interval
from vga_policy.files import write_atomically
from vga_policy.model.config import from_plain
from vga_policy.objective.recipe import Strategy
from vga_policy.train import trainer
from vga_policy.train.ablation.files import VGA, Finished, finished, run_directory, write_variant
from vga_policy.train.config import PolicyConfig
from vga_policy.train.engine.loop import make_accelerator
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import CONFIG, Run

TABLE, METRICS, CURVES = "table.md", "figures.csv", "curves.png"


@dataclass(frozen=True)
class Result:
    """A finished run. metrics: of validation's best. curve: validation's action error (L1, normalized) by step."""

    variant: str
    seed: int
    metrics: Mapping[str, float]
    curve: Mapping[int, float]


def variants(base: PolicyConfig, sizes: Sequence[int] = (), ranks: Sequence[int] = ()) -> dict[str, PolicyConfig]:
    """Table 2's rows around `base`, which starts from pretrained weights; then figure 7's. By name.

    The two rows that train the other way than `base` show low-rank updates against training everything. Where the
    keyframe is an objective, which it is not in the paper, a row does without it.
    """
    if base.init is None:
        raise TrainingError("the ablation starts from pretrained weights: name them with --init")
    strategy = base.resolved().recipe.strategy
    other: Strategy = "full" if strategy == "lora" else "lora"
    random = {kind: replace(base, init=None, strategy=None, ablation=f"zeroinit-{kind}") for kind in ("lora", "full")}
    rows = {
        VGA: base,
        "w/o PVM": replace(base, ablation="without-pvm", strategy=strategy),
        "w/o joint training": replace(base, ablation="without-joint-training", strategy=strategy),
        f"w/o pretraining, {strategy}": random[strategy],
        f"w/o pretraining, {other}": random[other],
        {"full": "full-parameter", "lora": "low-rank updates"}[other]: replace(base, strategy=other),
    }
    if base.resolved().recipe.losses.keyframe:
        rows["w/o keyframe"] = replace(base, keyframe=0.0)
    for size in sizes:
        rows[f"{VGA}, {size} episodes"] = replace(base, episodes=size)
        rows[f"w/o joint training, {size} episodes"] = replace(rows["w/o joint training"], episodes=size)
    return rows | {f"{VGA}, rank {rank}": replace(base, strategy="lora", rank=rank) for rank in ranks}


def ablate(
    rows: Mapping[str, PolicyConfig], seeds: Sequence[int], out: Path, only: Sequence[str] | None = None
) -> list[Result]:
    """Trains every variant with every seed; table and curves in `out` are renewed after each.

    rows: what `variants` gave. only: names of those to train, None for all. Both show whatever has been trained in
    `out`, also by calls before. Raises TrainingError when that was trained on other data or in another way.
    """
    accelerator = make_accelerator(rows[VGA].loop)
    _refuse_mixture(rows[VGA], out)
    results: list[Result] = []
    for seed in seeds:
        for name in only or rows:
            run = run_directory(out, name, seed)
            if accelerator.is_main_process:
                write_variant(run, name)
            _finish(_seeded(rows[name], seed), run)
            results = [_result(one) for one in finished(out)]
            if accelerator.is_main_process:
                write_report(results, out)
    accelerator.wait_for_everyone()  # until the table is there for all
    return results


def write_report(results: Sequence[Result], out: Path) -> None:
    """The table as Markdown, every run's metrics as CSV, and the curves as a picture."""
    write_atomically(out / TABLE, markdown(results))
    text = io.StringIO()
    names = list(results[0].metrics)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *names])
    writer.writerows([result.variant, result.seed, *(result.metrics[name] for name in names)] for result in results)
    write_atomically(out / METRICS, text.getvalue())
    _draw(results, out / CURVES)


def markdown(results: Sequence[Result]) -> str:
    """A row a variant: each metric's mean over the seeds, and its least and largest where there are several.

    Last, how much the action error is above VGA's of the same seeds, with Student's interval over them.
    """
    names = list(results[0].metrics)
    heads = [*names, "action less VGA's [95 %, over seeds]"]
    lines = [f"| variant | seeds | {' | '.join(heads)} |", "| --- | --- |" + " --- |" * len(heads)]
    reference = {result.seed: result.metrics["action"] for result in results if result.variant == VGA}
    for variant in dict.fromkeys(result.variant for result in results):
        own = [result for result in results if result.variant == variant]
        cells = [_cell([result.metrics[name] for result in own if name in result.metrics]) for name in names]
        shared = [one.metrics["action"] - reference[one.seed] for one in own if one.seed in reference]
        cells.append("" if variant == VGA else _difference(shared))
        lines.append(f"| {variant} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def _difference(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):+.3g}"
    return mean if len(values) == 1 else "{} [{:+.3g}, {:+.3g}]".format(mean, *mean_interval(values))


def _refuse_mixture(base: PolicyConfig, out: Path) -> None:
    """What is in `out` has to be of the ablation around `base`, whichever of its rows that is."""
    for one in finished(out):
        known = _known(one.run)
        sizes, ranks = ([number] if number else [] for number in (known.episodes, known.rank))
        expected = variants(base, sizes, ranks).get(one.variant)
        if expected is None:
            raise TrainingError(f"{one.run}: with these options there is no row {one.variant!r}; give another --out")
        _refuse_other(one.run, known, _seeded(expected, one.seed))


def _refuse_other(run: Path, known: PolicyConfig, asked: PolicyConfig) -> None:
    differing = [field.name for field in fields(asked) if getattr(known, field.name) != getattr(asked, field.name)]
    if differing:
        raise TrainingError(f"{run}: was trained with other options ({', '.join(differing)}); give another --out")


def _seeded(config: PolicyConfig, seed: int) -> PolicyConfig:
    return replace(config, loop=replace(config.loop, seed=seed))


def _finish(config: PolicyConfig, run: Path) -> None:
    """Trains from the beginning, or from where a run with the same configuration was interrupted."""
    if not (run / CONFIG).is_file():
        trainer.train(config, run)
        return
    _refuse_other(run, _known(run), config)
    if not Run.open(run).finished:
        trainer.resume(run)


def _known(run: Path) -> PolicyConfig:
    try:
        config: PolicyConfig = from_plain(PolicyConfig, Run.open(run).config())
    except ValueError as error:
        raise TrainingError(f"{run}: {error}") from None
    return config


def _result(one: Finished) -> Result:
    lines = [line for line in Run.open(one.run).curve() if "validation" in line]
    best = min(lines, key=lambda line: line["validation"]["action"])
    told = ("action", "joints_rad", "gripper_m")
    metrics = {"best step": best["step"], **{key: best["validation"][key] for key in told}}
    return Result(one.variant, one.seed, metrics, {line["step"]: line["validation"]["action"] for line in lines})


def _draw(results: Sequence[Result], path: Path) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, variant in enumerate(dict.fromkeys(result.variant for result in results)):
        own = [result.curve for result in results if result.variant == variant]
        steps = sorted(set.intersection(*(set(curve) for curve in own)))
        columns = [[curve[step] for curve in own] for step in steps]
        line = "-" if number < 10 else "--"
        axes.plot(steps, [statistics.fmean(column) for column in columns], line, label=variant, color=f"C{number % 10}")
        axes.fill_between(steps, list(map(min, columns)), list(map(max, columns)), alpha=0.15, color=f"C{number % 10}")
    axes.set_xlabel("training step")
    axes.set_ylabel("action error of held-out episodes (L1, normalized)")
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
