"""Runs that blow up, full disks, interrupted saves: nothing good is lost, and a line says what to do."""

import json
import re
import resource
import signal
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support.episodes import write_episodes
from support.training import poisoned, start, steps, tiny_loop, tiny_policy, weights
from vga_policy.checkpoints import BEST
from vga_policy.train import trainer
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import CONFIG, LAST, LOG, ORIGIN, Run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory, 3, seconds=1.5, geometry=True)
    return directory


@pytest.fixture(scope="module")
def finished(episodes, tmp_path_factory):
    """A run that came to its end undisturbed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=2)), run)
    return run


def test_weights_that_validate_to_no_number_are_not_kept(episodes, tmp_path):
    run = tmp_path / "run"
    config = poisoned(tiny_policy(episodes, tiny_loop(save_every=1, validate_every=1)))
    with pytest.raises(TrainingError, match=r"action is not finite at step 1\..*options as before but for --lr LOWER"):
        trainer.train(config, run)
    assert Run.open(run).last_checkpoint() is None
    assert not (run / BEST).exists()


@pytest.mark.parametrize(("validate_every", "seen"), [(1, "action is not finite at step 4"), (100, "at step 5")])
def test_a_run_that_blows_up_keeps_its_last_good_state(episodes, tmp_path, validate_every, seen):
    run = tmp_path / "run"
    config = tiny_policy(episodes, tiny_loop(steps=3))
    trainer.train(config, run)
    before = weights(run), (run / BEST).resolve()
    loop = replace(config.loop, steps=6, save_every=1, validate_every=validate_every)
    rewrite(run, poisoned(replace(config, loop=loop)))
    with pytest.raises(TrainingError, match=rf"{seen}.*intact.* --init {re.escape(str(run))} --lr LOWER --out OTHER"):
        trainer.resume(run)
    assert before == (weights(run), (run / BEST).resolve())
    rewrite(run, replace(config, loop=loop))
    trainer.resume(run)
    assert np.isfinite([line["loss"] for line in steps(run)]).all()
    assert Run.open(run).last_checkpoint().progress.step == 6


def rewrite(run, config):
    (run / CONFIG).write_text(json.dumps(trainer.to_plain(config)))


def test_a_loss_that_runs_away_stops_the_run(episodes, tmp_path):
    loop = tiny_loop(steps=400, lr=3.0, validate_every=1000, save_every=1000)
    loop = replace(loop, optimizer=replace(loop.optimizer, warm_up=60))
    with pytest.raises(TrainingError, match=r"runs away|not finite"):
        trainer.train(tiny_policy(episodes, loop), tmp_path / "run")


def test_a_full_disk_leaves_the_last_good_state(episodes, finished, tmp_path):
    """No file of the process may grow beyond 40 kB: writing fails as on a full disk."""
    run = tmp_path / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=10)), run)
    before = weights(run), (run / BEST).resolve()
    plain = Run.open(run).config()
    plain["loop"]["steps"] = 30
    (run / "config.json").write_text(json.dumps(plain))
    size = sum(file.stat().st_size for file in (run / LAST).resolve().iterdir())
    assert size > 40_000

    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = start(run, preexec_fn=no_room)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cannot be saved" in said
    assert "Intact: last (step 10)" in said
    assert "Traceback" not in said
    assert before == (weights(run), (run / BEST).resolve())
    assert not list(run.rglob("*.unfinished"))
    assert [line["step"] for line in steps(run)][:10] == list(range(1, 11))


def test_a_run_that_was_killed_before_it_began_is_begun_anew(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ORIGIN).write_text("{}")
    (run / f".{CONFIG}.tmp").write_text('{"half')
    Run.create(run, {"a": 1}, {"fingerprint": "f"}, 1)
    assert Run.open(run).config() == {"a": 1}
    assert Run.open(run).origin()["data"] == {"fingerprint": "f"}
    with pytest.raises(TrainingError, match="is not empty; give another --out, or go on with --resume"):
        Run.create(run, {}, {}, 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(TrainingError, match=r"is not empty; give another --out$"):
        Run.create(tmp_path / "other", {}, {}, 1)


def test_a_directory_that_cannot_be_written_is_named(episodes, finished, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/run: cannot be written: .* give another --out"):
        trainer.train(tiny_policy(episodes), tmp_path / "file" / "run")
    (finished / ".log.jsonl.tmp").mkdir()
    with pytest.raises(TrainingError, match=r"cannot be written: .*intact.*--resume it"):
        trainer.resume(finished)
    (finished / ".log.jsonl.tmp").rmdir()


def test_an_interrupted_save_is_as_if_never_begun(finished, tmp_path):
    run = Run.open(finished)
    checkpoint = run.last_checkpoint()
    unfinished = finished / "states" / ".0000031.unfinished"
    unfinished.mkdir()
    (unfinished / "weights.safetensors").write_bytes(b"half")
    left_over = finished / "states" / "0000031"
    left_over.mkdir()
    assert run.last_checkpoint().progress == checkpoint.progress
    run.save_checkpoint(replace(checkpoint, progress=replace(checkpoint.progress, step=31)))
    assert run.last_checkpoint().progress.step == 31
    assert [path.name for path in (finished / "states").iterdir()] == ["0000031"]
    run.save_checkpoint(checkpoint)


def test_a_damaged_state_is_named(episodes, tmp_path):
    run = tmp_path / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=2)), run)
    file = run / LAST / "optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="states/0000002: damaged"):
        trainer.resume(run)


def test_a_state_of_another_model_is_not_gone_on_with(episodes, tmp_path):
    run = tmp_path / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=2)), run)
    file = run / LAST / "weights.safetensors"
    tensors = load_file(file)
    gone = min(tensors)
    del tensors[gone]
    save_file(tensors, file)
    with pytest.raises(TrainingError, match=f"1 tensors were others, {re.escape(gone)} the first: go on with that"):
        trainer.resume(run)


@pytest.mark.parametrize("line", ['{"step": 3, "los', "[]", "{}", "7", '{"step": 1, "validation": 2}'])
def test_a_damaged_line_of_the_curve_is_named(tmp_path, line):
    run = Run(tmp_path)
    (tmp_path / LOG).write_text(f'{{"step": 1, "loss": 2.0}}\n{line}\n{{"step": 2, "lo')
    with pytest.raises(TrainingError, match=r"log\.jsonl: line 2: .*: delete it"):
        run.curve()
    (tmp_path / LOG).write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert run.curve() == [{"step": 1, "loss": 2.0}]
