#!/bin/bash
# Makes what lies here, in the new directory OUT: `make.sh OLD OUT`, where OLD is a checkout of commit fb79bd7 and the
# environment is this repository's (`eval "$(make -s env)"`). All names of modules and options are those of that commit.
set -e
old=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
mkdir "$2" && cd "$2"
export OMP_NUM_THREADS=1 PYTHONPATH=$old/vga_policy:$old/vga_bringup:$old/vga_teleop:$PYTHONPATH
mkdir cells expected
cp "$old"/vga_bringup/config/cells/{lab,sim}.yaml "$here"/cells/full.yaml cells

# sim.yaml with two cameras and small images
sed -e '1s/.*/# sim.yaml with two cameras and small images/' -e 's/^name: sim/name: small/' -e /fixed_2/d \
    -e 's/{width: 320, height: 240, fps: 15}/{width: 64, height: 48, fps: 6}, jpeg_quality: 50/' \
    -e 's/rate_hz: 100.0}/rate_hz: 50.0}/' cells/sim.yaml > cells/small.yaml

# `vga` with the preset nano made small; with STOP_AT=N, Ctrl-C comes after step N of a training.
cat > vga.py <<'PYTHON'
import os, signal, sys
from dataclasses import replace
from vga_policy.cli import main
from vga_policy.model.action_head import ActionHeadConfig
from vga_policy.model.aggregator import AggregatorConfig
from vga_policy.model.camera_head import CameraHeadConfig
from vga_policy.model.conv_stem import ConvStemConfig
from vga_policy.model.depth_head import DepthHeadConfig
from vga_policy.model.presets import PRESETS, nano
from vga_policy.train.run import Run

SMALL = replace(
    nano().model,
    image_size=28,
    backbone=AggregatorConfig(width=8, depth=2, heads=2, layer_scale=1.0, vision=ConvStemConfig(channels=4, grid=2)),
    language_projector=(8, 8),
    action_head=ActionHeadConfig(layers=2, heads=2),
    camera_head=CameraHeadConfig(depth=1, heads=2),
    depth_head=DepthHeadConfig(layers=(0, 0, 1, 1), channels=(4, 4, 4, 4), features=8, last=4),
)
PRESETS["nano"] = lambda: replace(nano(), model=SMALL)
log = Run.log

def log_and_stop(run, line):
    log(run, line)
    if line["step"] == int(os.environ.get("STOP_AT", 0)):
        os.kill(os.getpid(), signal.SIGINT)

Run.log = log_and_stop
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
PYTHON
vga() { python vga.py "$@"; }

collect="--fast --jobs 1 --cell cells/small.yaml --task press_button --out episodes"
vga collect $collect --episodes 1
vga collect $collect --episodes 2 --seed 1 --no-depth --images-for 1
vga curate episodes --workers 1
vga curate episodes --reject press_button_000001 --reason "hesitates above the button"
vga curate episodes --accept press_button_000002 --reason "few images, on purpose"

loop="--batch 4 --lr 0.001 --muon 0.003 --warm-up 2 --average 0.9 --validate-every 2 --save-every 2 --device cpu --threads 1 --workers 0"
policy="--data episodes --preset nano --text-encoder hashed_ngrams --geometry-share 2 --validation 0.3"
vga scenes --out scenes --count 4 --size 28 --jobs 1 --cell cells/small.yaml
vga pretrain --scenes scenes --preset nano --validation 0.25 --steps 2 $loop --out geometry
STOP_AT=4 vga train $policy $loop --init geometry --steps 8 --out run || test $? = 130
vga ablate $policy $loop --init geometry --steps 2 --seeds 0 1 --rows VGA "w/o PVM" --out ablation
trials="--fast --jobs 1 --task press_button --trials 1 --max-steps 60 --videos 0 --cell cells/small.yaml"
vga eval sim --checkpoint run/best --method policy $trials --out results/policy
vga eval sim --checkpoint operator $trials --out results/operator

# What the old version makes of it, to compare with.
vga curate episodes --workers 1 > expected/curate.txt
cp -a run resumed && vga train --resume resumed && mv resumed/log.jsonl expected/resumed.jsonl
vga train $policy $loop --init run --steps 1 --out again && mv again/log.jsonl expected/from_run.jsonl
mv geometry/log.jsonl expected/pretrained.jsonl
vga eval open-loop --checkpoint run/best --data episodes --json --out open_loop > expected/open_loop.json
vga eval table results/policy results/operator --out table > expected/table.md
mv ablation/table.md expected/ablation.md && mv ablation/figures.csv expected/ablation.csv
python - <<'PYTHON'
import json
from pathlib import Path
import numpy as np
from vga_policy.contract.cell import load_cell
from vga_policy.contract.observation import Observation
from vga_policy.runtime.policy import Policy

policy = Policy.from_pretrained("run/best")
image = (np.indices((48, 64)).sum(axis=0)[..., None] * (1, 2, 3) % 256).astype(np.uint8)
proprioception = np.array([*policy.cell.arm.home, 0.04])
chunk = policy.act(Observation(0, (image, image[::-1].copy()), (0, 0), proprioception, "press the button"))
steps = np.column_stack([chunk.joints, chunk.gripper_width])
Path("expected/chunk.json").write_text(json.dumps(steps.tolist()) + "\n")
cells = {name: load_cell(f"cells/{name}.yaml").model_dump(mode="json") for name in ("lab", "sim", "small", "full")}
Path("expected/cells.json").write_text(json.dumps(cells, indent=1) + "\n")
PYTHON

# Left out: pictures, and the weights of runs that are only told of.
rm -rf vga.py resumed again table open_loop geometry/states geometry/last ablation/runs/*/*/{best,checkpoints} __pycache__
find . -name '*.png' -delete
find ablation -name '*.safetensors' -delete
find . -name tensorboard -prune -exec rm -r {} +
for name in episodes scenes geometry run; do
    tar --sort=name --owner=0 --group=0 -cJf $name.tar.xz $name && rm -r $name
done
