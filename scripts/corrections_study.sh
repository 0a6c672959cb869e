#!/usr/bin/env bash
# Measures what corrections are worth: `nano` on a task that it does half the time, before and after it was corrected.
#
#   scripts/corrections_study.sh [--quick] [--print] [OUT]
#
#   OUT       directory for everything, default out/corrections_study
#   --quick   one run, one trial, two training steps: shows that every command runs
#   --print   shows the commands and runs none
#
# The task is `corrections/far_cube.py`: the red cube around where `nano` was shown it. In this order:
#
#   before       trials of `nano`
#   corrections  RUNS runs of it, in which the scripted operator takes over where it errs (vga collect --policy)
#   plain        as many demonstrations of the same scenes, by the same operator: what the same visits would have given
#   old          demonstrations of pick_cube as `nano` was shown it, that it may not forget
#   trainings    SEEDS fine-tunings on old + corrections, and as many on old + plain
#   trials       of each, on fresh scenes, the same for all; the table pairs them
#
#   RUNS=40 TRIALS=100 STEPS=300 BATCH=16 SEEDS="1 2" SHARE=0.5 JOBS=1 THREADS=1
#
# After an interruption the same call goes on. What is done is marked in OUT/.done; another OUT for other numbers.
set -euo pipefail

. "$(dirname "$0")/steps.sh"

runs=${RUNS:-40} trials=${TRIALS:-100} steps=${STEPS:-300} batch=${BATCH:-16} jobs=${JOBS:-1}
[[ -z $quick ]] || runs=1 trials=1 steps=2 batch=2
export VGA_TASKS=$here/corrections/far_cube.py

# collect DIRECTORY TASK SEED [OPTION...]: RUNS episodes; one that was cut off begins anew.
collect() {
    local directory=$1 task=$2 seed=$3
    shift 3
    [[ -n $print || -e $out/.done/$directory ]] || rm -rf "${out:?}/$directory"
    once "$directory" vga collect --in-process --task "$task" --seed "$seed" --episodes "$runs" --no-depth \
        --jobs "$jobs" --out "$out/$directory" "$@"
}

# train RUN SEED DIRECTORY [OPTION...]: from `nano`, on the old demonstrations and those of DIRECTORY.
train() {
    local name=$1 seed=$2 data=$3
    shift 3
    trained "$name" --preset nano --init nano --data "$out/old" "$out/$data" \
        --seed "$seed" --steps "$steps" --batch "$batch" --lr 1e-4 --muon 5e-4 --warm-up $(((steps + 9) / 10)) \
        --ema 0.98 --validation 0.05 --validate-every "$steps" --save-every $(((steps + 3) / 4)) \
        --geometry-share "$batch" --device cpu --threads "${THREADS:-1}" --workers 0 --precision fp32 \
        --cache "$out/cache" "$@"
}

# try NAME CHECKPOINT: fresh scenes, the same for everybody. Trials are kept as they end.
try() {
    once "eval/$1" vga eval sim --in-process --checkpoint "$2" --task far_cube --trials "$trials" --max-steps 200 \
        --videos 0 --jobs "$jobs" --method "$1" --out "$out/eval/$1"
}

# compare REFERENCE NAME...: paired with the reference.
compare() {
    run vga eval table "${@/#/$out/eval/}" --reference "$1" --out "$out/table/$2-$1"
}

try before nano
collect corrections far_cube 0 --policy nano
collect plain far_cube 0
collect old pick_cube 0
for seed in ${SEEDS:-1 2}; do
    train corrected-$seed "$seed" corrections --corrections-share "${SHARE:-0.5}"
    try corrected-$seed "$out/corrected-$seed"
    train plain-$seed "$seed" plain
    try plain-$seed "$out/plain-$seed"
    compare plain-$seed corrected-$seed
    compare before corrected-$seed plain-$seed
done
