"""Shows on a CPU that the paper's model trains, fits in memory, goes on after kill -9, and acts.

    python scripts/paper_size.py PIECE [PIECE ...] [--out out/paper_size] [--limit 19] [--threads 2]

    weights    fake weights of the public names and shapes, and three demonstrations with depth
    plan       what vga model --plan predicts
    train      paper-dinov2, joint: four steps, a validation each two, the policy; digests of every file
    resume     the same, killed in its third step; gone on with from / and without --init: digests equal?
    act        the policy exported, loaded, and in vga sim; wants `resume`
    text       Qwen-GTE at full size; a policy that starts without it
    paper      preset paper, joint: a step, with --checkpoint-activations if it needs to, or without joint training
    saving     a step of two samples: as it is, --accumulate 2, --checkpoint-activations, both
    wrong      weights that almost fit, encoders swapped, a used --out, no text encoder, a full disk, too little memory
    latency    vga bench latency of the preset paper

Any piece may be run again. Numbers in the weights are random: nothing here says how good a policy is. It wants `vga` on
the path, 24 GB of memory, 40 GB of disk and an hour or two. OUT/transcript.txt has every command with its end, its time
and its peak of memory; OUT/NAME.csv has the memory over time. A command is killed when its own memory passes the limit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GB = 1e9
EVERY = 0.1  # s between looks at a command's memory
SHOWN = 4  # last lines of a command's output, in the transcript
QWEN = "Alibaba-NLP/gte-Qwen2-1.5B-instruct"
INSTRUCTION = "press the button"


@dataclass
class Bench:
    """Runs commands in `out`, one after the other, and writes down how each went. limit: GB."""

    out: Path
    limit: float
    threads: int
    failed: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Prints a line, also into the transcript."""
        print(text, flush=True)
        with (self.out / "transcript.txt").open("a") as file:
            file.write(text + "\n")

    def run(
        self,
        name: str,
        command: list[str | Path],
        *,
        expect: int | None = 0,
        until: Callable[[], bool] = lambda: False,
        end: int = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        lines: int = SHOWN,
    ) -> int:
        """Runs a command; its exit status. `end` is sent to it when `until` holds."""
        given_words = [str(word) for word in command]
        place = f"cd {cwd}; " if cwd else ""
        given = "".join(f"{key}={value} " for key, value in (environment or {}).items())
        self.say(f"\n$ {place}{given}{shlex.join(given_words)}".replace(f"{self.out}/", ""))
        log, started = self.out / f"{name}.log", time.monotonic()
        with log.open("w") as output, (self.out / f"{name}.csv").open("w") as curve:
            process = subprocess.Popen(
                given_words,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads), **(environment or {})},
                cwd=cwd or self.out,
                start_new_session=True,
            )
            why, peak, own = "", 0.0, 0.0
            print("seconds,resident,own", file=curve)
            while process.poll() is None:
                used = [memory_of(pid) for pid in session(process.pid)]
                resident, anonymous = sum(each[0] for each in used), sum(each[1] for each in used)
                peak = max(peak, resident if len(used) > 1 else max((each[2] for each in used), default=0.0))
                own = max(own, anonymous)
                print(f"{time.monotonic() - started:.1f},{resident:.3f},{anonymous:.3f}", file=curve)
                if not why and (anonymous > self.limit or until()):
                    why = f", {signal.Signals(end).name} sent by this script" + (
                        f" at its limit of {self.limit:g} GB" if anonymous > self.limit else ""
                    )
                    (os.killpg if end == signal.SIGKILL else os.kill)(process.pid, end)
                time.sleep(EVERY)
        status, took = process.returncode, time.monotonic() - started
        printed = [line.rstrip() for line in re.split(r"[\r\n]+", log.read_text(errors="replace")) if line.strip()]
        for line in printed[-lines:]:
            self.say(f"  | {line[:400]}".replace(f"{self.out}/", ""))
        self.say(f"  exit status {status}{why}; {took:.0f} s; peak {peak:.1f} GB resident, {own:.1f} GB its own")
        if expect is not None and status != expect:
            self.failed.append(name)
            self.say(f"  UNEXPECTED: exit status {status} instead of {expect}")
        return status

    def check(self, what: str, holds: bool) -> None:
        """Writes down whether something holds."""
        self.say(f"  {what}: {'yes' if holds else 'NO'}")
        if not holds:
            self.failed.append(what)

    def fresh(self, *names: str) -> None:
        """Removes what earlier calls have left under these names."""
        for name in names:
            path = self.out / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def words(command: str) -> list[str | Path]:
    """The words of a part of a command."""
    return list(command.split())


def session(leader: int) -> list[int]:
    """The processes that were started by, and with, a session's first one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def memory_of(process: int) -> tuple[float, float, float]:
    """GB resident, anonymous, and resident at most so far, as the kernel counts them."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0, 0.0, 0.0
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    resident, own, peak = (int(kilobytes.get(key, 0)) * 1024 / GB for key in ("VmRSS", "RssAnon", "VmHWM"))
    return resident, own, peak


def weights(bench: Bench) -> None:
    """Fake weights, and demonstrations."""
    for name, shapes in (("vggt", vggt_shapes), ("dino", timm_shapes), ("siglip", timm_shapes)):
        if not (bench.out / f"{name}.safetensors").exists():
            write_weights(bench, name, shapes(name))
    if not (bench.out / "data").exists():
        bench.run(
            "collect",
            [*words("vga collect --in-process --task press_button --episodes 3 --jobs 1"), "--out", bench.out / "data"],
        )


def vggt_shapes(_: str) -> dict[str, list[int]]:
    """Of the public VGGT-1B."""
    return dict(json.loads((ROOT / "vga_policy/test/data/vggt_1b_tensors.json").read_text()))


def timm_shapes(name: str) -> dict[str, list[int]]:
    """Of the paper's vision encoders."""
    import torch
    from vga_policy.model.backbone.dino_siglip import DINOV2_LARGE, SIGLIP_SO400M, TimmVit

    with torch.device("meta"):
        encoder = TimmVit({"dino": DINOV2_LARGE, "siglip": SIGLIP_SO400M}[name])
        return {key: list(value.shape) for key, value in encoder.state_dict().items()}


def write_weights(bench: Bench, name: str, shapes: Mapping[str, list[int]]) -> None:
    """A file of random numbers: of the size that trained ones have, so that passes stay finite."""
    import torch
    from torch import Tensor
    from vga_policy.model.weights.save import Later, save_tensors

    drawn = 0.02 * torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))  # over and over; a prime

    def numbers(key: str, shape: list[int]) -> Tensor:
        last = key.rsplit(".", 1)[-1]
        if "norm" in key and last == "weight" and len(shape) == 1:
            return torch.ones(shape)
        count = math.prod(shape)
        many = drawn.repeat(-(-count // len(drawn)))[:count].reshape(shape)
        return torch.full(shape, 0.01) if last == "gamma" else many

    def later(key: str, shape: list[int]) -> Later:
        return Later(torch.Size(shape), torch.float32, lambda: numbers(key, shape))

    path = bench.out / f"{name}.safetensors"
    save_tensors({key: later(key, shape) for key, shape in shapes.items()}, path)
    bench.say(f"\nfake weights {path.name}: {len(shapes)} tensors, {path.stat().st_size / GB:.2f} GB")


def plan(bench: Bench) -> None:
    """Predictions, beside which `train` and `saving` have what was measured."""
    for preset in ("paper-dinov2", "paper"):
        bench.run(f"plan_{preset}", ["vga", "model", "--preset", preset, "--plan", "--batch", "1"], lines=20)
    for memory in ("24GB", "80GB"):
        bench.run(
            f"plan_{memory}",
            ["vga", "model", "--preset", "paper", "--plan", "--batch", "32", "--gpus", "1", "--memory", memory],
            lines=20,
        )


def training(bench: Bench, out: str, *options: str | Path, preset: str = "paper-dinov2") -> list[str | Path]:
    """A command that trains."""
    init: list[str | Path] = ["--init", bench.out / "vggt.safetensors"]
    encoders: list[str | Path] = ["--encoders", bench.out / "dino.safetensors", bench.out / "siglip.safetensors"]
    fixed = words("--validation 0.3 --validation-samples 2 --device cpu --threads")
    command: list[str | Path] = ["vga", "train", "--data", bench.out / "data", "--preset", preset, *init]
    command += [*(encoders if preset == "paper" else []), "--text-encoder", "minilm", *fixed, str(bench.threads)]
    return [*command, *options, "--out", bench.out / out]


FOUR = words("--steps 4 --batch 1 --validate-every 2 --save-every 2")


def train(bench: Bench) -> None:
    """The run that nothing happens to."""
    bench.fresh("whole")
    bench.run("whole", training(bench, "whole", *FOUR))
    told_curve(bench, "whole")
    (bench.out / "whole.json").write_text(json.dumps(digests(bench.out / "whole"), indent=1))
    shutil.copy(bench.out / "whole/log.jsonl", bench.out / "whole.jsonl")
    for name, (size, digest) in digests(bench.out / "whole").items():
        bench.say(f"  {size / GB:6.2f} GB  {digest[:16]}  {name}")
    bench.fresh("whole")  # the disk has no room for two


def resume(bench: Bench) -> None:
    """The same run with a death in it."""
    bench.fresh("killed")
    last = bench.out / "killed/last"
    state = [False, 0.0]

    def third_step() -> bool:
        if not state[0] and last.exists() and last.resolve().name == "0000002":
            state[:] = True, time.monotonic()
        return bool(state[0]) and time.monotonic() > state[1] + 2.0

    bench.run("killed", training(bench, "killed", *FOUR), until=third_step, expect=-signal.SIGKILL)
    init, away = bench.out / "vggt.safetensors", bench.out / "away"
    init.rename(away)
    try:
        bench.run("resumed", ["vga", "train", "--resume", bench.out / "killed"], cwd=Path("/"))
    finally:
        away.rename(init)
    told_curve(bench, "killed")
    before = {name: tuple(value) for name, value in json.loads((bench.out / "whole.json").read_text()).items()}
    after = digests(bench.out / "killed")
    for name, (size, digest) in after.items():
        bench.say(f"  {size / GB:6.2f} GB  {digest[:16]}  {name}")
    bench.check("every file of the resumed run has the bytes of the run that was not killed", before == after)
    same = curve(bench.out / "whole.jsonl") == curve(bench.out / "killed/log.jsonl")
    bench.check("losses, norms and validations are equal to the last digit", same)


def curve(file: Path) -> list[dict[str, object]]:
    """The lines of a run's curve without their times."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def told_curve(bench: Bench, run: str) -> None:
    """Writes the curve of a run down."""
    for line in (bench.out / run / "log.jsonl").read_text().splitlines():
        bench.say(f"  {line[:300]}")


def digests(run: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of the files of weights of a run, by the names that lead to them."""
    found = {}
    for place in ("", "last", "best"):
        for path in sorted((run / place).glob("*.safetensors")):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[str(path.relative_to(run))] = path.stat().st_size, digest
    return found


def act(bench: Bench) -> None:
    """What the robot would load."""
    run = bench.out / "killed"
    bench.fresh("half")
    bench.run("export", ["vga", "export", "policy", run, "--out", bench.out / "half"])
    code = (
        f"from vga_policy.inference.policy import Policy; p = Policy.from_pretrained({str(run)!r}, threads=2); "
        "print('fastest act', round(p.seconds, 2), 's;', 'embeddings of', list(p.checkpoint.embeddings))"
    )
    bench.run("policy", [sys.executable, "-c", code])
    log = bench.out / "sim.log"
    simulate(bench, "sim", run, lambda: "cannot run" in log.read_text(errors="replace"), expect=None)
    bench.check("vga sim never says ready", "ready after" not in log.read_text())


def simulate(
    bench: Bench,
    name: str,
    policy: Path,
    over: Callable[[], bool],
    *,
    expect: int | None = 0,
    environment: Mapping[str, str] | None = None,
) -> None:
    """`vga sim` until `over`, ten minutes at most; then Ctrl-C."""
    late = time.monotonic() + 600
    domain = {"ROS_DOMAIN_ID": "77", **(environment or {})}
    bench.run(
        name,
        ["vga", "sim", "--checkpoint", policy],
        until=lambda: over() or time.monotonic() > late,
        end=signal.SIGINT,
        environment=domain,
        expect=expect,
        lines=12,
    )


def text(bench: Bench) -> None:
    """The paper's text encoder, and a policy that starts without it."""
    home = write_qwen(bench)
    with_it, without_it = {"HF_HUB_CACHE": str(home)}, {"HF_HUB_CACHE": str(bench.out / "no-hub")}
    texts = ["press the button", "pick up the red cube", "stack the red cube on the blue cube"]
    code = (
        "import time; from vga_policy.text.pretrained import QwenGTE, release\n"
        f"for text in {texts!r}:\n"
        "    start = time.monotonic(); found = QwenGTE().encode(text)\n"
        "    print(f'{time.monotonic() - start:.2f} s', text, found.shape, found[:3])\n"
    )
    bench.run("text_encode", [sys.executable, "-c", code], environment=with_it)
    judge = (
        "import torch; from transformers import AutoConfig, AutoTokenizer, Qwen2ForCausalLM\n"
        f"c = AutoConfig.from_pretrained({QWEN!r}); c.is_causal = True\n"
        f"m = Qwen2ForCausalLM.from_pretrained({QWEN!r}, config=c, dtype=torch.float32).eval()\n"
        f"t = AutoTokenizer.from_pretrained({QWEN!r})\n"
        f"for text in {texts!r}:\n"
        "    ids = t(text + '<|endoftext|>', return_tensors='pt')\n"
        "    with torch.inference_mode(): h = m.model(**ids).last_hidden_state[0, -1]\n"
        "    print(text, (h / h.norm())[:3].tolist())\n"
    )
    bench.run("text_judge", [sys.executable, "-c", judge], environment=with_it)
    bench.fresh("told")
    command: list[str | Path] = [
        "vga",
        "train",
        "--data",
        bench.out / "data",
        "--preset",
        "nano",
        "--text-encoder",
        "qwen_gte",
    ]
    command += words("--steps 2 --batch 4 --validation 0.3 --validation-samples 2 --device cpu --threads")
    command += [str(bench.threads), "--out", bench.out / "told"]
    bench.run("text_train", command, environment=with_it)
    log = bench.out / "text_sim.log"
    said: list[str] = []

    def asked() -> bool:
        if "ready after" not in log.read_text(errors="replace"):
            return False
        for instruction in (INSTRUCTION, "open the door"):
            command = ["vga", "run", instruction, "--max-steps", "10"]
            environment = {**os.environ, "ROS_DOMAIN_ID": "77"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            told = (done.stdout + done.stderr).strip()
            said.append(f"{shlex.join(command)}: exit status {done.returncode}: {told}")
        return True

    simulate(bench, "text_sim", bench.out / "told", asked, environment=without_it)
    for line in said:
        bench.say(f"  {line}")
    bench.check("a policy of Qwen-GTE is ready without it", "ready after" in log.read_text())


def write_qwen(bench: Bench) -> Path:
    """A hub's cache with a fake gte-Qwen2-1.5B-instruct: names, shapes, two shards and configuration as public."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    home = bench.out / "hub"
    kept = home / f"models--{QWEN.replace('/', '--')}"
    snapshot = kept / "snapshots" / "fake"
    if (kept / "refs").exists():
        return home
    snapshot.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    Qwen2Tokenizer(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]).save_pretrained(snapshot)
    config = Qwen2Config(
        vocab_size=151646,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        max_position_embeddings=131072,
        tie_word_embeddings=False,
        architectures=["Qwen2ForCausalLM"],
    )
    own = {"AutoModel": "modeling_qwen.Qwen2Model", "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM"}
    told = {**config.to_dict(), "is_causal": False, "auto_map": own}
    (snapshot / "config.json").write_text(json.dumps(told, indent=2))
    with torch.device("meta"):
        shapes = {name: list(value.shape) for name, value in Qwen2ForCausalLM(config).state_dict().items()}
    names, first = list(shapes), len(shapes) * 2 // 3
    shards = {"model-00001-of-00002": names[:first], "model-00002-of-00002": names[first:]}
    for shard, part in shards.items():
        write_weights(bench, str(snapshot / shard), {name: shapes[name] for name in part})
    where = {name: f"{shard}.safetensors" for shard, part in shards.items() for name in part}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("fake")
    return home


def paper(bench: Bench) -> None:
    """The paper's own preset with its text encoder, as far as memory carries; then vga sim without that encoder."""
    hub = {"HF_HUB_CACHE": str(write_qwen(bench))}
    step = words("--steps 1 --batch 1 --text-encoder qwen_gte")
    for name, options in {
        "paper": [],
        "paper_again": ["--checkpoint-activations"],
        "paper_actions": ["--ablation", "without-joint-training"],
    }.items():
        bench.fresh("paper")
        command = training(bench, "paper", *step, *options, preset="paper")
        if bench.run(name, command, environment=hub, expect=None) == 0:
            break
    told_curve(bench, "paper")
    log = bench.out / "paper_sim.log"
    nothing = {"HF_HUB_CACHE": str(bench.out / "no-hub")}
    refused = lambda: "cannot run" in log.read_text(errors="replace")  # noqa: E731
    simulate(bench, "paper_sim", bench.out / "paper", refused, expect=None, environment=nothing)


def saving(bench: Bench) -> None:
    """Peaks and first losses of two samples a step."""
    plain = words("--steps 1 --batch 2")
    for name, options in {
        "as_it_is": [],
        "accumulate": ["--accumulate", "2"],
        "activations": ["--checkpoint-activations"],
        "both": ["--accumulate", "2", "--checkpoint-activations"],
    }.items():
        bench.run(f"plan_{name}", ["vga", "model", "--preset", "paper-dinov2", "--plan", "--batch", "2", *options])
        bench.fresh("saving")
        bench.run(f"saving_{name}", training(bench, "saving", *plain, *options))
        told_curve(bench, "saving")
    bench.fresh("saving")


def wrong(bench: Bench) -> None:
    """What cannot be, each said in a sentence."""
    short = words("--steps 1 --batch 1")
    out = bench.out
    full_size = training(bench, "wrong", *short)
    bench.fresh("wrong")
    init, almost = out / "vggt.safetensors", out / "almost.safetensors"
    token = b'"aggregator.camera_token":{"dtype":"F32","shape":[1,2,1,1024]'
    for name, new in {
        "name": token.replace(b"camera_token", b"camera_toker"),
        "shape": token.replace(b"2,1,", b"1,2,"),
    }.items():
        nearly(init, almost, token, new)
        bench.run(f"wrong_{name}", [almost if word == init else word for word in full_size], expect=1)
        almost.unlink()
    swapped = training(bench, "wrong", *short, preset="paper")
    at = swapped.index("--encoders")
    swapped[at + 1 : at + 3] = reversed(swapped[at + 1 : at + 3])
    bench.run("wrong_swapped", swapped, expect=1)
    bench.run("wrong_used", training(bench, "data", *short), expect=1)
    missing = [word if word != "minilm" else "qwen_gte" for word in full_size]
    bench.run("wrong_encoder", missing, expect=1, environment={"HF_HUB_CACHE": str(out / "no-hub")})
    bench.check("nothing was written", not (out / "wrong").exists())
    full = bench.out / "full"
    full.mkdir(exist_ok=True)
    nano = ["vga", "train", "--data", out / "data", "--preset", "nano", "--out", full / "run"]
    nano += words("--steps 3 --batch 4 --save-every 1 --validation 0.3 --device cpu")
    steps = (
        f"mount -t tmpfs -o size=220M none {full}",
        shlex.join(map(str, nano)),
        f"ls {full}/run {full}/run/states; df -h {full} | tail -n 1; mount -o remount,size=600M {full}",
        shlex.join(["vga", "train", "--resume", str(full / "run")]),
    )
    bench.run("wrong_full", ["unshare", "--map-root-user", "--mount", "bash", "-c", "; ".join(steps)], lines=30)


def nearly(source: Path, target: Path, old: bytes, new: bytes) -> None:
    """A file of weights like `source`, but for `new` in place of `old` in its header; its numbers are zero."""
    with source.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    target.write_bytes(len(header).to_bytes(8, "little") + header.replace(old, new))
    os.truncate(target, source.stat().st_size)


def latency(bench: Bench) -> None:
    """How long a chunk of the paper's takes here."""
    command = ["vga", "bench", "latency", "--preset", "paper", "--device", "cpu", "--duration", "60"]
    bench.run("latency", [*command, "--threads", str(bench.threads)], lines=30)


PIECES = {each.__name__: each for each in (weights, plan, train, resume, act, text, paper, saving, wrong, latency)}


def main() -> int:
    """Runs the pieces that are asked for; 1 when something was not as it should be."""
    about, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=rest, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pieces", nargs="+", choices=PIECES, metavar="PIECE")
    parser.add_argument("--out", type=Path, default=ROOT / "out/paper_size")
    parser.add_argument("--limit", type=float, default=19.0, metavar="GB")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bench = Bench(arguments.out.resolve(), arguments.limit, arguments.threads)
    bench.out.mkdir(parents=True, exist_ok=True)
    for piece in arguments.pieces:
        bench.say(f"\n== {piece}, {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}")
        PIECES[piece](bench)
    bench.say(f"not as it should be: {'; '.join(bench.failed)}" if bench.failed else "all as it should be")
    return int(bool(bench.failed))


if __name__ == "__main__":
    sys.exit(main())
